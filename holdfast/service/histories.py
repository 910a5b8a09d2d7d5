"""What one can ask of Holdfast about the history of a gated volume: every write, kept elsewhere.

Reached through `Holdfast.histories`. Owns the way only: places are judged and made in expendable
children, the gate begins and ends. What is kept, and where, stands in gate.json alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.errors import (
    GateGone,
    HoldfastError,
    InvalidOption,
    NoSource,
    NotAttached,
)
from holdfast.gate.log.history.layout import volume_in_history
from holdfast.gate.log.history.outline import outline
from holdfast.gate.log.history.reading import Gap, stretches
from holdfast.gate.log.history.segments import find, in_order
from holdfast.gate.members.configuration import (
    HISTORY,
    GateConfiguration,
    load_configuration,
    save_configuration,
)
from holdfast.gate.outside.launch import gate_is_running
from holdfast.gate.processes.remains import living_processes
from holdfast.model.history import (
    LEAST_KEEP_SECONDS,
    LEAST_LIMIT_BYTES,
    HistoryPlace,
    HistoryReport,
    HistoryStretch,
    history_place,
    with_shown,
)
from holdfast.model.volume import JournalFailurePolicy, JournalMode
from holdfast.service.history_places import (
    against,
    check_empty,
    check_place,
    make_place,
    normal,
    unmake_place,
)
from holdfast.service.host import Host
from holdfast.service.rights import need_root
from holdfast.system.children.expendable import in_expendable_child

if TYPE_CHECKING:
    from holdfast.service.clones import Clones
    from holdfast.service.copies import Copies
    from holdfast.service.filled_clones import FilledClones
    from holdfast.service.following import CopiesThatFollow
    from holdfast.service.history_anew import HistoriesAnew
    from holdfast.service.past_files import PastFiles
    from holdfast.service.point_groups import PointGroups
    from holdfast.service.points import Points
    from holdfast.service.promotions import Promotions
    from holdfast.service.promotions_at_rest import PromotionsAtRest
    from holdfast.service.schedules import PointSchedules
    from holdfast.service.switching import Switches
    from holdfast.service.vanishings import Vanishings

KEPT_SECONDS = 86400
"""Of a history for which nobody says how long it is kept."""

_LOOKING_SECONDS = 3.0
"""For what is only told besides: whoever asks about a history that hangs is to hear the rest."""

_FINDING_SECONDS = 60.0
"""For a page of each segment, where nobody else tells: 200 GiB have 3200 on a disk that turns."""

_READING_SECONDS = 3600.0
"""For whoever has the whole of a history read."""


class Histories:
    """The histories of the volumes on this host."""

    def __init__(self, host: Host) -> None:
        self._host = host

    @cached_property
    def copies(self) -> Copies:
        """Copies from which a history leads to later moments."""
        from holdfast.service.copies import Copies

        return Copies(self._host, self)

    @cached_property
    def following(self) -> CopiesThatFollow:
        """Copies that are brought on by themselves."""
        from holdfast.service.following import CopiesThatFollow

        return CopiesThatFollow(self._host, self.copies)

    @cached_property
    def promotions(self) -> Promotions:
        """Copies that take the place of lost legs."""
        from holdfast.service.promotions import Promotions

        return Promotions(self._host, self.copies, self.filled_clones)

    @cached_property
    def anew(self) -> HistoriesAnew:
        """Those that begin when their volumes are restored."""
        from holdfast.service.history_anew import HistoriesAnew

        return HistoriesAnew(self._host, self)

    @cached_property
    def switches(self) -> Switches:
        """Copies and legs that change places."""
        from holdfast.service.switching import Switches

        return Switches(self._host, self.copies, self.promotions)

    @cached_property
    def promotions_at_rest(self) -> PromotionsAtRest:
        """Copies that take the place of the legs of a volume that is not in use."""
        from holdfast.service.promotions_at_rest import PromotionsAtRest

        return PromotionsAtRest(self._host, self.promotions)

    @contextmanager
    def advising(self, name: str) -> Iterator[None]:
        """Whoever finds no leg to start a volume from is told of the copies that there are."""
        try:
            yield
        except NoSource as error:
            error.mend = " ".join(filter(None, (error.mend, self.promotions_at_rest.advice(name))))
            raise

    @cached_property
    def points(self) -> Points:
        """Moments that have a name."""
        from holdfast.service.points import Points

        return Points(self._host, self, self.copies)

    @cached_property
    def groups(self) -> PointGroups:
        """Points of several volumes at one moment."""
        from holdfast.service.point_groups import PointGroups

        return PointGroups(self._host, self.copies, self.points)

    @cached_property
    def schedules(self) -> PointSchedules:
        """Points that are made by themselves."""
        from holdfast.service.schedules import PointSchedules

        return PointSchedules(self._host, self.points)

    @cached_property
    def clones(self) -> Clones:
        """Volumes as they were at a moment, made from copies."""
        from holdfast.service.clones import Clones

        return Clones(self._host, self.copies, self.points, self.filled_clones)

    @cached_property
    def filled_clones(self) -> FilledClones:
        """Those that are in use while they are filled."""
        from holdfast.service.filled_clones import FilledClones

        return FilledClones(self._host, self.copies)

    @cached_property
    def files(self) -> PastFiles:
        """Single files of volumes as they were."""
        from holdfast.service.past_files import PastFiles

        return PastFiles(self._host, self.clones)

    def settle(self) -> list[str]:
        """Finish or undo what killed commands left of copies, points and histories; in words."""
        return [*self.copies.settle(), *self.points.settle(), *self.anew.settle()]

    @cached_property
    def vanishings(self) -> Vanishings:
        """Paths of volumes that are gone."""
        from holdfast.service.vanishings import Vanishings

        return Vanishings(self._host, self.copies, self.points, self.clones)

    def show(self, name: str, *, verify: bool = False) -> HistoryReport:
        """What can be reached, or not looked at; `verify` reads everything. Raises HasNoGate."""
        need_root()
        configuration = self.configuration(name)
        place = place_of(configuration)
        if place is None:
            found = configuration.descriptor.get(HISTORY)
            directory = str(found.get("directory", "")) if isinstance(found, dict) else ""
            return HistoryReport(name, "off", directory=directory)
        report = HistoryReport(name, "resting", **place.as_json())
        shown: dict[str, object] = {}
        if gate_is_running(self._host.settings.gate_run_directory(name)):
            shown = dict(self._host.gate(name).show()["journal"])
            report = with_shown(report, shown)
        path, volume = Path(place.directory), volume_in_history(configuration.volume_id)
        least = report.position if shown else configuration.recorded_position
        look = partial(_read_all, least=least) if verify else _look
        seconds = _READING_SECONDS if verify else _LOOKING_SECONDS if shown else _FINDING_SECONDS
        try:
            kept, used = in_expendable_child(partial(look, path, volume), seconds, place.directory)
            report = replace(report, stretches=kept, used_bytes=used, is_read=True)
        except (HoldfastError, OSError) as error:  # what the gate says stays
            words = error.message if isinstance(error, HoldfastError) else error.strerror
            report = replace(report, reason=report.reason or str(words))
        return replace(report, findings=self._findings(name, place)) if report.is_read else report

    def plan_keep(
        self,
        name: str,
        directory: str,
        keep_seconds: float | None,
        limit_bytes: int | None,
        on_failure: JournalFailurePolicy | None = None,
    ) -> tuple[HistoryPlace, tuple[str, ...]]:
        """What `keep` would ask for, and what speaks against it, in words. Changes nothing.

        An empty directory, or None: as it is now. Raises InvalidUrl, InvalidOption, OwnLeg,
        MissingFuse where another worker would never hear of requests that wait.
        """
        self._host.gate(name)
        _check_takeover()
        now = place_of(self.configuration(name))
        if directory and now is not None and normal(directory) != now.directory:
            raise InvalidOption(
                f"the history of {name} is in {now.directory}",
                f"End it there first: holdfast history {name} --off.",
            )
        if not directory and now is None:
            raise InvalidOption(
                f"no history of {name} is kept", "Say where: --at DIRECTORY, on another disk."
            )
        before = now.keep_seconds if now else KEPT_SECONDS
        place = HistoryPlace(
            normal(directory) if directory else now.directory if now else "",
            int(keep_seconds if keep_seconds is not None else before),
            limit_bytes if limit_bytes is not None else now.limit_bytes if now else 0,
            on_failure or (now.on_failure if now else JournalFailurePolicy.DEGRADE),
        )
        if 0 < place.keep_seconds < LEAST_KEEP_SECONDS:
            raise InvalidOption("that is too short to be of use", "Keep a minute at least.")
        if 0 < place.limit_bytes < LEAST_LIMIT_BYTES:
            raise InvalidOption(
                "that is less than a few segments take", "Allow 256 MiB at least (--limit 256M)."
            )
        path = self._host.volume(name).mount.path
        in_expendable_child(
            partial(check_place, self._host.settings, name, path, place.directory),
            doing=place.directory,
        )
        return place, self._findings(name, place)

    def place_anew(self, name: str, directory: str) -> HistoryPlace:
        """Where a history could be begun when the volume has got another gate, kept as the present
        one, if there is any. Changes nothing. Raises what `plan_keep` does."""
        _check_takeover()
        now = place_of(self.configuration(name))
        place = replace(now or HistoryPlace("", KEPT_SECONDS), directory=normal(directory))
        path, where = self._host.volume(name).mount.path, place.directory
        if now is not None and where == now.directory:
            raise InvalidOption(
                f"{where} has the present history of {name}, which stays",
                "Name a directory that is not there yet.",
            )
        ask = partial(check_place, self._host.settings, name, path, where)
        in_expendable_child(ask, doing=where)
        in_expendable_child(partial(check_empty, where), doing=where)
        return place

    def keep(
        self,
        name: str,
        directory: str,
        keep_seconds: float | None,
        limit_bytes: int | None,
        on_failure: JournalFailurePolicy | None = None,
    ) -> HistoryReport:
        """Keep every write from now on, or change for how long; durable on return.

        Requests wait for some milliseconds, while another worker takes over. Raises what
        `plan_keep` does, InUse, Untrusted, ForeignLeg, HistoryFailed.
        """
        with self._host.turn(name, f"keep the history of {name} in {directory or 'its place'}"):
            place, _ = self.plan_keep(name, directory, keep_seconds, limit_bytes, on_failure)
            made = in_expendable_child(partial(make_place, place.directory), doing=place.directory)
            try:
                self._host.gate(name).history(place)
            except HoldfastError:
                if made:
                    in_expendable_child(
                        partial(unmake_place, place.directory), doing=place.directory
                    )
                raise
        return self.show(name)

    def end(self, name: str) -> HistoryReport:
        """Keep nothing from now on; what is there stays. Durable on return; idempotent.

        Also while the history cannot be written, or, of a volume that is detached, is away.
        """
        with self._host.turn(name, f"end the history of {name}"):
            try:
                gate = self._host.gate(name)
                if place_of(gate.describe()) is not None:
                    _check_takeover("Detach the volume, end it then, attach the volume again.")
                gate.history(None)
            except (NotAttached, GateGone):
                run_directory = self._host.settings.gate_run_directory(name)
                if gate_is_running(run_directory) or living_processes(run_directory):
                    raise
                self._end_at_rest(name)
        return self.show(name)

    def _end_at_rest(self, name: str) -> None:
        """No position needs to move: whoever begins anew goes beyond where the history ends."""
        state_directory = self._host.settings.gate_state_directory(name)
        now = load_configuration(state_directory)
        if now.journal is JournalMode.CONTINUOUS:
            save_configuration(state_directory, replace(now, journal=JournalMode.UNFLUSHED))

    def configuration(self, name: str) -> GateConfiguration:
        """What the gate of a volume says, or what it left. Raises HasNoGate, NoSuchVolume."""
        self._host.refuse_adopted(name)
        self._host.volume(name)
        if gate_is_running(self._host.settings.gate_run_directory(name)):
            return self._host.gate(name).describe()
        return load_configuration(self._host.settings.gate_state_directory(name))

    def _findings(self, name: str, place: HistoryPlace) -> tuple[str, ...]:
        """What speaks against that place."""
        urls = [leg.url for leg in self._host.show(name).legs]
        try:
            return in_expendable_child(
                partial(against, place, urls), _LOOKING_SECONDS, place.directory
            )
        except (HoldfastError, OSError) as error:
            words = error.message if isinstance(error, HoldfastError) else error.strerror
            return (f"whether it shares a disk with a leg cannot be found out: {words}",)


def place_of(configuration: GateConfiguration) -> HistoryPlace | None:
    """Where it is; a record that is damaged names no place that could be looked at."""
    if configuration.journal is not JournalMode.CONTINUOUS:
        return None
    try:
        return history_place(configuration.descriptor.get(HISTORY))
    except ValueError:
        return HistoryPlace("/")


def _check_takeover(mend: str = "") -> None:
    """As `check_takeover`: another log takes another worker."""
    from holdfast.service.doctor.kernel import check_takeover

    check_takeover(mend)


# In expendable children: these touch storage.


def _look(path: Path, volume: bytes) -> tuple[tuple[HistoryStretch, ...], int]:
    segments = in_order(find(path), volume)
    kept = outline([segment.page for segment in segments])
    return tuple(kept), sum(segment.size_bytes for segment in segments)


def _read_all(path: Path, volume: bytes, least: int) -> tuple[tuple[HistoryStretch, ...], int]:
    """`least`: up to there it was whole once. Damage in the newest segment looks like its end."""
    found = stretches(path, volume)
    if found and found[-1].end < least:
        last = found[-1]
        lost = f"it had position {least}, and what comes after {last.end} is damaged or gone"
        gap = Gap(last.end, least, last.newest_ns, 0, lost, is_damage=True)
        found[-1] = last._replace(gap=gap)
    _, used_bytes = _look(path, volume)
    kept = tuple(
        HistoryStretch(
            each.position,
            each.end,
            (each.oldest_ns or each.begun_ns) / 1e9,
            (each.newest_ns or each.begun_ns) / 1e9,
            each.gap.reason if each.gap else "",
            is_damaged=each.gap is not None and each.gap.is_damage,
        )
        for each in found
    )
    return kept, used_bytes
