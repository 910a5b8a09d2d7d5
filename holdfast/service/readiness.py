"""Whether what is there for the day on which storage or files are lost would serve then: for
`status` and the daemon.

Changes nothing. Must load nothing for hosts that have neither copies nor policies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from holdfast.catalog import Catalog
from holdfast.config import Settings
from holdfast.coordination.turn import at_work
from holdfast.errors import HoldfastError
from holdfast.model.copy import VolumeCopy
from holdfast.model.evidence import Evidence
from holdfast.model.policy import OnLoss, PolicyStanding
from holdfast.model.volume import VolumeReport
from holdfast.policy.drill_schedules import UNREADABLE_MEND, read_schedules
from holdfast.policy.readiness import (
    NO_DAEMON,
    SOURCE,
    START_DAEMON,
    failed_drill,
    in_words,
    unattended,
    undrilled,
    unready_copies,
)
from holdfast.service.last_drills import last_drill

_RECORDS = "copies", "following", "schedules"
"""Directories of records, in which one that is damaged keeps all others from being read."""


def unready(
    settings: Settings, catalog: Catalog, reports: Sequence[VolumeReport], *, is_watched: bool
) -> tuple[Evidence, ...]:
    """What would not serve of these volumes. Blocks for some seconds where storage from which a
    policy restores hangs. Raises HoldfastError, OSError."""
    unreadable = tuple(_unreadable(settings, reports))
    unfollowed = () if is_watched or unreadable else _unfollowed(settings, reports)
    nothing: tuple[list[VolumeCopy], frozenset[str]] = ([], frozenset())
    copies, busy = nothing if unreadable else _settled_copies(settings)
    return (
        *unreadable,
        *_copies(copies, busy, reports),
        *unfollowed,
        *_policies(catalog, copies, reports, is_watched=is_watched),
        *_drills(settings, catalog, reports, is_watched),
    )


def _unreadable(settings: Settings, reports: Sequence[VolumeReport]) -> Iterator[Evidence]:
    """Where records are damaged, nobody is brought on, and no point is made: of no volume that has
    a history, as it is not known whose they are."""
    kept = [each for each in reports if each.gate and each.gate.journal.get("mode") == "continuous"]
    names = [each for each in _RECORDS if (settings.state_directory / each).is_dir()]
    if not (kept and names):
        return
    from holdfast.copies import records

    readers: tuple[Callable[[], object], ...] = (
        records.CopyRecords(settings).all,
        records.FollowingRecords(settings).all,
        records.PointScheduleRecords(settings).all,
    )
    for name, read in zip(_RECORDS, readers, strict=True):
        try:
            read()
        except HoldfastError as error:
            for each in kept:
                yield Evidence(each.name, name, error.message, error.mend, source=SOURCE)


def _copies(
    copies: Sequence[VolumeCopy], busy: frozenset[str], reports: Sequence[VolumeReport]
) -> Iterator[Evidence]:
    for report in reports:
        yield from unready_copies(report, copies, at_work=f".copies-{report.name}" in busy)


def _unfollowed(settings: Settings, reports: Sequence[VolumeReport]) -> Iterator[Evidence]:
    if not (settings.state_directory / "following").is_dir():
        return
    from holdfast.copies.records import FollowingRecords

    asked = {each.volume for each in FollowingRecords(settings).all()}
    for report in reports:
        if report.name in asked:
            words = f"its copies are to follow it, and {NO_DAEMON}"
            yield Evidence(report.name, "following", words, START_DAEMON, source=SOURCE)


def _drills(
    settings: Settings, catalog: Catalog, reports: Sequence[VolumeReport], is_watched: bool
) -> Iterator[Evidence]:
    try:
        wanted = {each.volume for each in read_schedules(settings.state_directory)}
    except (HoldfastError, OSError, ValueError) as error:
        wanted = set()
        for report in reports:
            words = f"it may be to have drills by itself, which cannot be read: {error}"
            yield Evidence(report.name, "drill schedule", words, UNREADABLE_MEND, source=SOURCE)
    for report in reports:
        if report.name in wanted and not is_watched:
            yield from undrilled(report.name)
        yield from failed_drill(report.name, last_drill(catalog, report.name))


def _settled_copies(settings: Settings) -> tuple[list[VolumeCopy], frozenset[str]]:
    """The records, and at which of them somebody is at work; one that ended meanwhile is not
    called unfinished."""
    if not (settings.state_directory / "copies").is_dir():
        return [], frozenset()
    from holdfast.copies.records import CopyRecords

    records = CopyRecords(settings)
    before = {each.id for each in records.all()}
    busy = at_work(settings.run_directory)
    return [each for each in records.all() if each.id in before], busy


def _policies(
    catalog: Catalog,
    copies: Sequence[VolumeCopy],
    reports: Sequence[VolumeReport],
    *,
    is_watched: bool,
) -> Iterator[Evidence]:
    standings = catalog.policies.all()
    for report in reports:
        standing = standings.get(report.name)
        if standing is not None and standing.policy.on_loss is OnLoss.RESTORE:
            yield from unattended(report.name, is_watched=is_watched)
            yield from _unable(report, standing, copies)


def _unable(
    report: VolumeReport, standing: PolicyStanding, copies: Sequence[VolumeCopy]
) -> Iterator[Evidence]:
    """What keeps it from being done, as far as can be seen without stopping anybody."""
    from holdfast.service.policies import would_refuse

    decision = would_refuse(report, standing, copies)
    if decision is not None:
        words = in_words(decision, standing, is_lost=report.lost_by is not None)
        yield Evidence(report.name, "policy", words, decision.mend, source=SOURCE)
