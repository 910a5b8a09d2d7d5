"""Acknowledged writes that a leg has not flushed yet, and what to do when they cannot be kept.

Wraps the journal for the data path: appends in the order in which overlapping writes reach the
legs, knows from which position on a flush of the legs leaves work, and replays onto a leg that came
back without its volatile cache. What each method promises is said by `write_log.WriteLog`.
Invariant: a write that is not in the journal is never answered before the legs say so durably
(`position` moves past the journal's end), so that no later replay can undo it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from holdfast.gate.log.journal import Journal, Kind, Record
from holdfast.gate.log.segment import PAGE_BYTES
from holdfast.gate.members.leg import Leg, zero_all
from holdfast.gate.runtime.claims import Hand
from holdfast.system.resources.memory import aligned_buffer

JOURNAL = 1 << 32
"""Stands for the journal where a hand says which leg it is in."""

CHECKPOINT_BYTES = 128 << 20
"""Journal size at which the legs are flushed although nobody asked."""


class Unflushed:
    """The journal of one gate. `on_failure` is told once, when it can keep no more."""

    mode = "unflushed"

    def __init__(self, directory: Path, on_failure: Callable[[str], None]) -> None:
        self._journal = Journal(directory)
        self._lock = threading.Lock()
        self._in_flight: dict[Hand, int] = {}
        self._on_failure = on_failure
        self.active = True

    def open(self, minimum_position: int, *, seal: bool) -> None:
        """Finds the records of the time before."""
        self._journal.open(minimum_position, seal)

    @property
    def kept(self) -> tuple[int, int] | None:
        """What the segments on disk hold."""
        return (self._journal.begin, self._journal.position) if self.active else None

    @property
    def position(self) -> int:
        """Position after the last record."""
        return self._journal.position

    @property
    def used_bytes(self) -> int:
        """From the oldest record to the newest."""
        return self._journal.position - self._journal.begin

    @property
    def overfull(self) -> bool:
        """From CHECKPOINT_BYTES on."""
        return self.active and self.used_bytes > CHECKPOINT_BYTES

    def append(self, hand: Hand, kind: Kind, offset: int, payload: memoryview | int) -> None:
        """One record."""
        if not self.active:
            return
        try:
            with hand.holding(self._lock):
                hand.enter(JOURNAL)
                self._in_flight[hand] = self._journal.position
                if isinstance(payload, int):
                    self._journal.append(kind, offset, payload, None)
                else:
                    self._journal.append(kind, offset, len(payload), payload)
                hand.leave()
        except OSError as error:
            hand.leave()
            self.fail(error.strerror or str(error))

    def begun_at(self, hand: Hand) -> int:
        """Position of the hand's record; the end when the journal failed meanwhile."""
        return self._in_flight.get(hand, self._journal.position)

    def done(self, hand: Hand) -> None:
        """It is not waited for any more."""
        self._in_flight.pop(hand, None)

    def stable_position(self, recorded: int) -> int:
        """The oldest record whose write is still on its way to the legs, or the end."""
        if not self.active:
            return recorded
        end = self._journal.position
        return max(recorded, min([end, *list(self._in_flight.values())]))

    def flush(self, hand: Hand) -> None:
        """fdatasync beside appends of other threads."""
        if not self.active:
            return
        hand.enter(JOURNAL)
        try:
            self._journal.flush()
        except OSError as error:
            hand.leave()
            self.fail(f"flush: {error.strerror}")
        else:
            hand.leave()

    def trim(self, hand: Hand, position: int) -> None:
        """Whole segments; a failure costs room only."""
        with hand.holding(self._lock):
            hand.enter(JOURNAL)
            try:
                self._journal.trim(position)
            except OSError as error:
                hand.leave()
                self.fail(f"trim: {error.strerror}")
            else:
                hand.leave()

    def begin_anew(self, hand: Hand, above: int) -> None:
        """A new first segment."""
        with hand.holding(self._lock):
            hand.enter(JOURNAL)
            try:
                self._journal.restart(above + PAGE_BYTES)
            except OSError as error:
                hand.leave()
                self.fail(f"it cannot begin anew: {error.strerror}")
            else:
                hand.leave()

    def replay(
        self,
        hand: Hand,
        leg: Leg,
        position: int,
        note: Callable[[int, int], object],
        failed: Callable[[Record, OSError], None],
    ) -> int:
        """Every record since `position`, in order, then a flush of the leg. Idempotent."""
        buffer = memoryview(aligned_buffer(1 << 20))
        replayed = 0
        for record in self._journal.records(position):
            if record.kind in (Kind.DATA, Kind.DISCARD):
                note(record.offset, record.length)
            hand.enter(leg.number)
            try:
                if record.kind == Kind.DATA:
                    view = buffer[: record.length]
                    view[:] = record.payload
                    leg.write(view, record.offset)
                    replayed += record.length
                elif record.kind == Kind.DISCARD:
                    zero_all(hand, leg, record.offset, record.length, keep_allocated=False)
            except OSError as error:
                hand.leave()
                failed(record, error)
            else:
                hand.leave()
        hand.enter(leg.number)
        try:
            leg.flush()
        finally:
            hand.leave()
        return replayed

    def fail(self, reason: str) -> None:
        """It is used no more until the next start."""
        if self.active:
            self.active = False
            self._in_flight.clear()
            self._on_failure(reason)

    def close(self) -> None:
        """The files stay."""
        self._journal.close()
