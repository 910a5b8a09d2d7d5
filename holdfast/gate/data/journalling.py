"""The log of one mirror: which one is used, room in it, and what legs are told of its positions.

Invariant: a position is recorded only after all legs were flushed, and the log forgets nothing
before it is recorded. A log that fails is followed by a hold or by an incident, as the policy says,
and positions move past its end: what it holds is never replayed over later writes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from holdfast.gate.data.hold import Hold
from holdfast.gate.data.owing.owed import Owed
from holdfast.gate.data.owing.repaying import Repaying
from holdfast.gate.data.write_log import Continuous, Unjournalled, WriteLog
from holdfast.gate.data.write_log.troubles import HistoryTroubles
from holdfast.gate.data.write_log.unflushed import JOURNAL, Unflushed
from holdfast.gate.log.history.needed import NeededPositions
from holdfast.gate.log.ring import FILE_NAME
from holdfast.gate.log.segment import Kind
from holdfast.gate.members.roster import Roster
from holdfast.gate.members.settling import Settling
from holdfast.gate.runtime.claims import Hand, Hands
from holdfast.gate.runtime.incidents import Incidents
from holdfast.gate.runtime.shared_page import (
    FLUSHED,
    HISTORY_LOST_SINCE,
    OWED_SINCE,
    WRITTEN,
    note_written,
    renew_plan,
)
from holdfast.model.volume import JournalFailurePolicy, JournalMode

FILES = "journal"
"""In the state directory: records of versions before 0.2."""

UNKNOWN_BYTES = 1 << 40
"""How far positions move past a log that could not be opened: no ring is that large, and no journal
in files was."""

PAUSE_SECONDS = 0.01
"""Between two attempts to make room, while a write that hangs keeps the oldest record."""

RELIEVED_SECONDS = 0.5
"""A flush that waits longer for the history has another thread serve in its place, so that reads
are answered meanwhile."""

MOST_RELIEVED = 16
"""So often, as each of them takes a slot of the shared page until its flush is answered. The kernel
has one flush of a loop device under way at a time."""


class Journalling:
    """The log of one mirror, and the positions that its legs are told."""

    def __init__(
        self,
        state_directory: Path,
        run_directory: Path,
        cells: memoryview,
        roster: Roster,
        settling: Settling,
        hold: Hold,
        incidents: Incidents,
        owed: Owed,
        repaying: Repaying,
        flush_all: Callable[[Hand], int],
        wake: Callable[[], None],
        hands: Hands,
    ) -> None:
        """`flush_all`: as Mirror's. `wake` has the main loop look at everything."""
        self._state_directory = state_directory
        self._files = state_directory / FILES
        self._ring = run_directory / FILE_NAME
        self._cells = cells
        self._roster = roster
        self._settling = settling
        self._hold = hold
        self._incidents = incidents
        self._owed = owed
        self._repaying = repaying
        self._flush_all = flush_all
        self._wake = wake
        self._hands = hands
        self._relieved = 0
        self._lock = threading.Lock()
        """Held while positions are recorded."""
        self.log: WriteLog = Unjournalled()
        self.is_switched = False
        """Whether the worker before ended so that another kind of log is used."""
        self.flushed_before = int(cells[FLUSHED])
        """As the worker before knew it: a position of the log, if that goes on."""
        cells[FLUSHED] = roster.configuration.recorded_position
        note_written(cells)

    def open(self, hand: Hand | None = None) -> None:
        """Open the log that the configuration asks for. Blocks as its storage does.

        With a hand it can be given up, which raises GivenUp in it. Raises OSError.
        """
        configuration = self._roster.configuration
        if configuration.journal is not JournalMode.NONE:
            log = (
                self._continuous()
                if configuration.journal is JournalMode.CONTINUOUS
                else Unflushed(
                    self._ring, self._files, configuration.volume_id, self._cells, self.failed
                )
            )
            with hand.inside(JOURNAL) if hand is not None else nullcontext():
                log.open(configuration.recorded_position)
            self.log = log
        renew_plan(self._cells)

    def _continuous(self) -> Continuous:
        """The log that is carried to the history which the configuration names."""
        configuration = self._roster.configuration
        history = configuration.history
        assert history is not None
        goes_on_without = history.on_failure is JournalFailurePolicy.DEGRADE
        return Continuous(
            self._ring,
            self._files,
            configuration.volume_id,
            self._cells,
            self.failed,
            history,
            self._hands,
            HistoryTroubles(
                self._incidents,
                self._wake,
                goes_on_without=goes_on_without,
                is_begun=lambda: self.is_switched and not self.log.continues,
            ),
            needed=NeededPositions(self._state_directory, configuration.volume_id),
            goes_on_without=goes_on_without,
        )

    def wait_kept(self, hand: Hand, position: int, since_ns: int) -> None:
        """Wait until the log has everything before that as durable as a flush promises.

        Raises HoldExpired past the deadline of a flush that came then, or when the history began
        to fail, if that was before: once it has passed nobody waits again, until it is back.
        """
        if self.log.wait_kept(position, RELIEVED_SECONDS):
            return
        is_relieved = self._relieved < MOST_RELIEVED
        if is_relieved:
            self._relieved += 1
            hand.be_relieved()
        try:
            while not self.log.wait_kept(position, RELIEVED_SECONDS):
                self.log.is_late()
                lost_ns = self._cells[HISTORY_LOST_SINCE] or since_ns
                self._hold.wait_for_place(min(since_ns, lost_ns), PAUSE_SECONDS)
        finally:
            self._relieved -= is_relieved

    def history_hangs(self, hand: Hand, reason: str) -> None:
        """A hand was given up in the history's storage."""
        if isinstance(self.log, Continuous):
            self.log.carrying.given_up(hand, reason)

    @property
    def flushed_position(self) -> int:
        """The position up to which the legs are durable."""
        return int(self._cells[FLUSHED])

    def flushed(self, hand: Hand, position: int, since_ns: int) -> None:
        """Take note that the legs are durable up to there, so that it gets recorded. Where the log
        has files, it is recorded before this returns.

        Raises HoldExpired past the deadline of a flush that came then, GivenUp.
        """
        if self.log.active and position > self._cells[FLUSHED]:
            self._cells[FLUSHED] = position
            note_written(self._cells)
        while self.log.has_files and self.log.active:
            self.record(hand, flush=True)
            if self.log.has_files:
                self._hold.wait_for_place(since_ns, PAUSE_SECONDS)

    def append(self, hand: Hand, kind: Kind, offset: int, what: memoryview | int) -> bool:
        """Keep a write that is about to reach the legs; False when there is no room (see
        `make_room`)."""
        if not self.log.append(hand, kind, offset, what):
            return False
        if self.log.ask_once():
            self._wake()
        return True

    def make_room(self, hand: Hand, since_ns: int) -> None:
        """Have the log emptied, or wait a little. Raises HoldExpired, GivenUp.

        The hand must hold no range: what is owed may have to be appended again.
        """
        if not self._roster.readers:
            self._hold.wait_for_storage(since_ns=since_ns)
            return
        before, agreed = self.log.used_bytes, True
        with hand.holding(self._lock):
            if self.log.active and self.log.used_bytes >= before:
                agreed = self._record(hand, flush=True)
        if self.log.used_bytes < before:
            return
        if agreed:  # a write keeps its record that is in a leg: the hang time-out ends that
            self._hold.pause(PAUSE_SECONDS)
        else:
            self._hold.wait_for_place(since_ns, PAUSE_SECONDS)

    def record(self, hand: Hand, *, flush: bool) -> None:
        """Record on the legs how far they are durable, and trim the log up to there.

        With `flush`, up to now. Without it the legs are flushed only if that is needed, and the log
        is trimmed up to what was recorded before. Raises HoldExpired, GivenUp.
        """
        with hand.holding(self._lock):
            self._record(hand, flush=flush)

    def _record(self, hand: Hand, *, flush: bool) -> bool:
        """False when somebody refused it. The caller holds the lock."""
        self._cells[WRITTEN] = 0
        if self._owed and self.log.overfull:
            self._repaying.carry(hand)
        if flush or self.log.overfull or not self.log.active:
            flushed = self._flush_all(hand)
            if flushed > self._cells[FLUSHED]:  # a log that failed meanwhile has moved it further
                self._cells[FLUSHED] = flushed
        recorded = self._roster.configuration.recorded_position
        position = max(self.flushed_position, recorded)
        agreed = position <= recorded or self._record_on_legs(hand, position)
        for _ in range(2):  # in both superblocks of each leg
            if agreed and (flush or self.log.overfull) and self.log.keeps_before(position):
                agreed = self._record_on_legs(hand, position)
        return agreed

    def _record_on_legs(self, hand: Hand, position: int) -> bool:
        """Whether it was recorded and the log trimmed."""
        if not self._settling.record_position(hand, position):
            return False
        self.log.trim(hand, position)
        self.log.goes_on()
        return True

    def begin_anew(self, hand: Hand, above: int, *, elsewhere: bool = True) -> None:
        """Begin the log anew: what it holds belongs to another history of the volume and must never
        be replayed. `elsewhere`: it may have been used without this log.

        Positions go on above that one, on the legs with the next epoch. The old records are not
        found by any later process.
        """
        if isinstance(self.log, Continuous):
            self.log.may_settle = not elsewhere
        self.log.begin_anew(hand, above)
        recorded = self._roster.configuration.recorded_position  # more, when the log failed
        position = max(above, self.log.position, recorded)
        self._cells[FLUSHED] = max(self._cells[FLUSHED], position)
        self._roster.configure(recorded_position=position)

    def begin_at_takeover(self, hand: Hand, above: int) -> None:
        """The log of the previous worker is gone. The legs were flushed since, so nothing is
        missing.

        A receipt says so; positions go on above those of all legs, on the legs with the next epoch.
        """
        if not self.is_switched:
            incident = self._incidents.reflex("journal", "journal: what was kept is gone")
            incident.step("legs flushed", "a new ring is begun")
        self.begin_anew(hand, above)

    def cannot_open(self, reason: str) -> None:
        """The log cannot be opened: it is removed, so that nobody ever replays it, and counts as
        failed."""
        with suppress(OSError):
            self._ring.unlink()
        self.failed(f"it cannot be opened: {reason}")

    def failed(self, reason: str) -> None:
        """Stop the volume or go on without a journal, as the policy says; never in silence."""
        configuration = self._roster.configuration
        incident = self._incidents.reflex("journal", f"journal: {reason}")
        if configuration.journal_failure is JournalFailurePolicy.HOLD:
            self._hold.begin(None, f"the journal failed ({reason})")
            incident.step("journal failed, held", reason)
        else:
            incident.step("journal failed, going on without", reason)
        # Positions move past the journal's end: what it holds is never replayed over later writes.
        if self._owed:
            incident.step(f"{self._owed.size_bytes} bytes for bad places", "in owed.json")
        past = max(configuration.recorded_position, self.log.position) + 4096
        if not self.log.active:
            past += UNKNOWN_BYTES
        self.move_past(past)

    def move_past(self, position: int, **changes: Any) -> None:
        """Nothing before that position is ever replayed; the next epoch says so, and `changes`.

        What is owed for bad places is not in the log any more.
        """
        self._cells[OWED_SINCE] = 0
        self._cells[FLUSHED] = position
        self._roster.configure(recorded_position=position, **changes)
        renew_plan(self._cells)
        self._wake()
