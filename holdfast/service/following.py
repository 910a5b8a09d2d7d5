"""Copies that are brought on by themselves: asking for it, doing it, how far they are. Reached
through `Holdfast.histories.following`.

Invariants: the turn on the copies is given back after each part, so that whoever else needs it
waits some seconds; what an attempt came to is durable before it ends. Must never be in the way of
the volume: everything is done as `copy advance` does it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from holdfast.config import Settings
from holdfast.copies import images
from holdfast.copies.records import CopyRecords, FollowingRecords
from holdfast.errors import AtWork, HoldfastError, InUse, Unreachable
from holdfast.model.copy import CopyReport, VolumeCopy
from holdfast.model.evidence import Evidence
from holdfast.model.following import Following, FollowingReport, FollowState, checked_lag
from holdfast.model.history import HistoryStretch
from holdfast.model.reporter import SILENT, Reporter
from holdfast.model.volume import VolumeReport
from holdfast.policy.following import (
    CopySeen,
    age_seconds,
    history_trouble,
    in_words,
    standing,
    unled,
)
from holdfast.policy.readiness import NO_DAEMON, START_DAEMON
from holdfast.policy.watching import watcher
from holdfast.service.copies import Copies, kept_end
from holdfast.service.follow_request import FollowRequest
from holdfast.service.host import Host
from holdfast.service.rights import need_root
from holdfast.system.children.expendable import in_expendable_child

PART_BYTES = 256 << 20
"""Of history that is applied in one turn: some seconds, less than `WAIT_SECONDS` of the turn."""

_REST_SECONDS = 0.3
"""Between two turns: longer than whoever waits for one rests between two attempts."""

_ANSWER_SECONDS = 5.0
"""In which the place of a copy answers."""

_MOST_WORDS = 2000
"""Characters of an error: with two paths."""


class CopiesThatFollow:
    """Those of this host."""

    def __init__(self, host: Host, copies: Copies) -> None:
        self._host = host
        self._copies = copies
        self._records = FollowingRecords(host.settings)

    def set(self, name: str, which: str, lag_seconds: float | None) -> VolumeCopy:
        """Have a copy brought on when it has lacked something for so long; None: not any more.
        Durable on return; heeded from the daemon's next look on.

        What it failed at before is forgotten: it is tried at once. Raises InvalidOption,
        NoSuchCopy, AtWork.
        """
        need_root()
        if lag_seconds is not None:
            checked_lag(lag_seconds)
        with self._copies.turn(name):
            if lag_seconds is None:
                copy = self._copies.find(name, which)
                self._records.forget(copy.id)
                return copy
            copy = self._copies.complete(name, which)
            self._records.save(Following(copy.id, name, lag_seconds, time.time()))
        return copy

    def bring_on(self, request: FollowRequest, reporter: Reporter = SILENT) -> VolumeCopy | None:
        """Bring it to the present in parts; None: nothing was to be done. Durable on return.

        Raises what kept it from being done, which is written down, too, unless it was only somebody
        else's turn.
        """
        need_root()
        try:
            brought = self._brought_on(request, reporter)
        except AtWork:
            raise
        except HoldfastError as error:
            self._note(request, error.message, error.mend)
            raise
        self._note(request)
        return brought

    def _brought_on(self, request: FollowRequest, reporter: Reporter) -> VolumeCopy | None:
        name, brought = request.volume, None
        while self._records.find(request.copy) is not None:
            copy = self._copies.complete(name, request.copy)
            _await(copy)  # storage that hangs keeps nobody else from the turn
            with self._copies.turn(name):
                copy = self._copies.complete(name, request.copy)
                gate, configuration, place = self._copies.kept(name)
                end = kept_end(gate)
                if copy.position >= end:
                    return brought
                # What a killed attempt has written already is no moment before `good_from`.
                target = max(copy.position + PART_BYTES, copy.good_from or 0)
                size_bytes = max(copy.size_bytes, configuration.size_bytes)
                bring = partial(self._copies.bring, copy, place, reporter=reporter)
                if target >= end:
                    return bring(places=(end, size_bytes))
                try:
                    brought = bring(places=(target, size_bytes), on_its_way=True)
                except Unreachable:  # there lies a step, which is nowhere between its ends
                    return bring(places=(end, size_bytes))
            time.sleep(_REST_SECONDS)
        return brought

    def _note(self, request: FollowRequest, words: str = "", mend: str = "") -> None:
        """How an attempt ended; with words: it failed. Where that cannot be written down, the next
        one says it."""
        with suppress(HoldfastError), self._copies.turn(request.volume):
            now = self._records.find(request.copy)
            if now is None:
                return
            failures = now.failures + 1 if words else 0
            after = replace(
                now, failures=failures, words=words[:_MOST_WORDS], mend=mend[:_MOST_WORDS]
            )
            if after != now:
                self._records.save(after)

    def note_current(self, following: Following, now: float) -> None:
        """It lacked nothing until now. Does not wait: who is at work on it knows better. Raises
        StateFailed, OSError."""
        try:
            with self._copies.turn(following.volume, wait_seconds=0.0):
                found = self._records.find(following.id)
                if found is not None:
                    self._records.save(replace(found, current=now))
        except AtWork:
            return

    def listed(self, name: str = "") -> list[CopyReport]:
        """As `Copies.show`, and how well those that follow do so."""
        found = self._copies.show(name)
        if not is_any(self._host.settings):
            return found
        names = {each.name for each in self._host.catalog.volumes()}
        asked = names & {each.copy.volume for each in found}
        reports = [self._host.show(each) for each in sorted(asked)]
        by_volume = following_of(self._host.settings, reports)
        followed = {one.copy: one for each in by_volume.values() for one in each}
        return [_with(each, followed.get(each.copy.id)) for each in found]


def _with(report: CopyReport, following: FollowingReport | None) -> CopyReport:
    """What is wrong with its image keeps a copy from following, too."""
    if following is not None and report.state not in ("usable", "unknown"):
        following = replace(following, state=FollowState.CANNOT, reason=report.reason)
    return replace(report, following=following)


def _await(copy: VolumeCopy) -> None:
    """See that its image is there, as it was left. Whoever worked on it just now may still be
    ending. Raises what `images.check_image` does, DeadlinePassed."""
    deadline = time.monotonic() + _ANSWER_SECONDS
    while True:
        try:
            in_expendable_child(partial(images.check_image, copy), _ANSWER_SECONDS, copy.url)
            return
        except InUse:
            if time.monotonic() > deadline:
                raise
            time.sleep(_REST_SECONDS)


def following_of(
    settings: Settings, reports: Sequence[VolumeReport]
) -> dict[str, list[FollowingReport]]:
    """How well the copies of these volumes follow, by volume; touches no storage. Raises
    StateFailed."""
    if not is_any(settings):
        return {}
    copies = {each.id: each for each in CopyRecords(settings).all()}
    volumes = {each.name: each for each in reports}
    found: dict[str, list[FollowingReport]] = {}
    is_watched, now = bool(watcher(settings.run_directory)), time.time()
    for each in FollowingRecords(settings).all():
        copy, report = copies.get(each.id), volumes.get(each.volume)
        if copy is None or report is None or not copy.is_complete:
            continue
        seen = seen_of(each, copy, report, age_seconds(each, copy, now))
        if not is_watched and not seen.trouble:
            seen = replace(seen, trouble=NO_DAEMON, mend=START_DAEMON)
        found.setdefault(report.name, []).append(standing(each, copy, seen))
    return found


def is_any(settings: Settings) -> bool:
    """Whether any copy of this host ever followed."""
    return (settings.state_directory / "following").is_dir()


def seen_of(
    following: Following, copy: VolumeCopy, report: VolumeReport, behind_seconds: float
) -> CopySeen:
    """What a report says of a copy of its volume; `behind_seconds`: if it lacks something."""
    journal: Mapping[str, object] = report.gate.journal if report.gate is not None else {}
    if not journal:  # it is detached: nothing is written, and what it lacks is not known
        return CopySeen(0, 0.0)
    shown = journal.get("history_stretches")
    stretches = [HistoryStretch(**each) for each in shown] if isinstance(shown, list) else []
    trouble, mend = unled(copy, report.id, stretches, following)
    if not trouble:
        trouble, mend = history_trouble(journal, report.name)
    end = journal.get("position")
    behind = max(0, (end if isinstance(end, int) else 0) - copy.position)
    return CopySeen(behind, behind_seconds if behind else 0.0, trouble, mend)


def evidence_of(volume: str, report: FollowingReport, source: str) -> Evidence:
    """What is told of one that does not follow."""
    mend = report.mend or f"holdfast copy list {volume}"
    return Evidence(volume, f"copy {report.copy}", in_words(report), mend, source=source)
