"""Keeping every write is begun, changed and ended while the volume is in use.

One worker serves with one kind of log, from its beginning to its end. So a switch is: nobody
appends to the log any more, an epoch is begun in which the configuration says what is wanted and
positions are beyond everything before, and this worker ends; the next one opens what the
configuration names, as after any death. Invariants: that epoch, durable on the legs and in
gate.json, is the only thing that counts, so a kill anywhere leaves the one or the other; a write
that is not in the log is not answered before positions have moved past it.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

from holdfast.errors import (
    ForeignLeg,
    HistoryFailed,
    InUse,
    InvalidOption,
    NoSource,
    Untrusted,
)
from holdfast.gate.data.mirror import Mirror
from holdfast.gate.data.write_log import Continuous
from holdfast.gate.log.history.layout import volume_in_history
from holdfast.gate.log.history.room import check_room
from holdfast.gate.log.history.writing import HistoryWriter
from holdfast.gate.members.configuration import HISTORY
from holdfast.gate.members.inside_leg import inside_leg
from holdfast.gate.repair.changes import ELSEWHERE
from holdfast.gate.repair.recovery import Recovery
from holdfast.gate.runtime.claims import Hand
from holdfast.model.history import HistoryPlace
from holdfast.model.volume import JournalMode
from holdfast.system.processes.process import apart

PAST_BYTES = 4096
"""How far positions move past everything before: as when a log fails."""

LAST_SECONDS = 2.0
"""How long the last writes before an end may take into the history; later ones are not in it."""

BEGUN_SECONDS = 10.0
"""How long the first segment is waited for."""


class HistorySwitch:
    """Of one worker."""

    def __init__(self, recovery: Recovery, succeed: Callable[[], NoReturn]) -> None:
        """`succeed` ends this process; the next worker takes over."""
        self._recovery = recovery
        self._mirror: Mirror = recovery.mirror
        self._succeed = succeed

    def switch(self, hand: Hand, wanted: HistoryPlace | None) -> None:
        """Keep every write there from now on, or nowhere. Durable.

        Does not return where anything is changed: the worker ends, and whoever asked asks the next
        one, for which it is done. Raises HistoryFailed, InUse, Untrusted, ForeignLeg, InvalidOption
        before anything is changed; HistoryFailed when it is on and cannot be written; NoSource,
        StorageFailed, Superseded.
        """
        with hand.holding(self._recovery.changing):
            now = self._mirror.roster.configuration
            if now.journal is JournalMode.CONTINUOUS and now.descriptor.get(HISTORY) == (
                wanted.as_json() if wanted else None
            ):
                self._see_that_it_is_written()
                return
            if wanted is None:
                if now.journal is not JournalMode.CONTINUOUS:
                    return
                self._end(hand)
            elif now.journal is JournalMode.CONTINUOUS:
                self._change(hand, wanted)
            else:
                self._begin(hand, wanted)
        self._succeed()

    def _see_that_it_is_written(self) -> None:
        log = self._mirror.log
        if not isinstance(log, Continuous):
            raise HistoryFailed("the history cannot be opened", "See why; it is tried again.")
        if not log.carrying.wait(log.position, BEGUN_SECONDS):
            reason = log.carrying.failing or "its storage does not answer"
            raise HistoryFailed(
                f"the history cannot be written: {reason}",
                "It is tried again twice a second; holdfast history NAME --off ends it.",
            )

    def _change(self, hand: Hand, wanted: HistoryPlace) -> None:
        """Other limits; the records go on."""
        now = self._mirror.roster.configuration
        old = now.descriptor.get(HISTORY)
        if isinstance(old, dict) and old.get("directory") != wanted.directory:
            raise InvalidOption(
                f"the history is in {old.get('directory')}",
                "End it there first: holdfast history NAME --off.",
            )
        descriptor = now.descriptor | {HISTORY: wanted.as_json()}
        self._mirror.roster.configure_as_told(descriptor=descriptor)
        self._mirror.settling.settle_or_raise(hand)

    def _begin(self, hand: Hand, wanted: HistoryPlace) -> None:
        now = self._mirror.roster.configuration
        if now.journal is not JournalMode.UNFLUSHED:
            raise InvalidOption(
                "this volume was made without a journal: a history needs one",
                "Migrate it to a volume with --journal unflushed.",
            )
        with hand.inside(ELSEWHERE):
            end = apart(partial(_examine, Path(wanted.directory), now.volume_id))
        self._flush(hand)
        self._reopen(
            hand, JournalMode.CONTINUOUS, now.descriptor | {HISTORY: wanted.as_json()}, end
        )

    def _end(self, hand: Hand) -> None:
        """The history gets what is in the ring if it can be written now."""
        mirror, log = self._mirror, self._mirror.log
        if isinstance(log, Continuous) and log.active and not log.carrying.failing:
            log.carrying.ask(log.position)
            log.carrying.wait(log.position, LAST_SECONDS)
            self._flush(hand)
        self._reopen(hand, JournalMode.UNFLUSHED, mirror.roster.configuration.descriptor, 0)

    def _flush(self, hand: Hand) -> None:
        """What was answered is on the legs; they may be replaced by others that lack it."""
        roster = self._mirror.roster
        for leg in roster.readers:
            with inside_leg(roster, hand, leg, "flush"):
                leg.flush()

    def _reopen(
        self, hand: Hand, journal: JournalMode, descriptor: dict[str, object], end: int
    ) -> None:
        """Have the next worker open that kind of log; `end`: of a history that is there already."""
        mirror = self._mirror
        if not mirror.roster.readers:
            raise NoSource("no leg is in sync: nobody could be told", "Repeat it when one is back.")

        def change() -> None:
            log = mirror.log
            if isinstance(log, Continuous) and not log.carrying.failing:
                log.carrying.ask(log.position)
                log.carrying.wait(log.position, LAST_SECONDS)
            mirror.journalling.move_past(
                max(log.position, end) + PAST_BYTES, journal=journal, descriptor=descriptor
            )

        if not mirror.log.leave(change):
            mirror.journalling.move_past(
                max(mirror.journalling.flushed_position, end) + PAST_BYTES,
                journal=journal,
                descriptor=descriptor,
            )
        mirror.settling.settle_or_raise(hand)


def _examine(path: Path, volume_id: str) -> int:
    """Whether a history of this volume can be kept there; where one ends that is there already.

    Leaves nothing behind but the file of the fence. Blocks as its storage does.
    """
    writer = HistoryWriter(path, volume_in_history(volume_id))
    try:
        writer.open(first=True)
        check_room(path)
        return 0 if writer.is_new else writer.find_end().position
    except OSError as error:
        words = error.strerror or str(error)
        if error.errno == errno.EBUSY:
            raise InUse(words, "Each volume has a history of its own.") from error
        if error.errno == errno.EMEDIUMTYPE:
            raise ForeignLeg(words, "Use another directory.") from error
        if error.errno == errno.EPERM:
            raise Untrusted(words, "Use a directory that is root's alone (mode 0700).") from error
        raise HistoryFailed(
            f"a history cannot be kept in {path}: {words}",
            "See that it is there, can be written, and has room.",
        ) from error
    finally:
        writer.close()
