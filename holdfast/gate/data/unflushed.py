"""Acknowledged writes that a leg has not flushed yet, and what to do when they cannot be kept.

Wraps the journal for the data path: appends in the order in which overlapping writes reach the
legs, knows from which position on a flush of the legs leaves work, and replays onto a leg that came
back without its volatile cache. `Unjournalled` is the same for volumes that keep nothing.
Invariant: a write that is not in the journal is never answered before the legs say so durably
(`position` moves past the journal's end), so that no later replay can undo it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from holdfast.gate.log.journal import Journal, Kind, Record
from holdfast.gate.log.segment import PAGE_BYTES
from holdfast.gate.members.leg import Leg, zero_all
from holdfast.gate.runtime.claims import Hand
from holdfast.system.memory import aligned_buffer

JOURNAL = 1 << 32
"""Stands for the journal where a hand says which leg it is in."""

CHECKPOINT_BYTES = 128 << 20
"""Journal size at which the legs are flushed although nobody asked."""


class WriteLog(Protocol):
    """What the data path asks of a journal."""

    mode: str
    active: bool

    def append(self, hand: Hand, kind: Kind, offset: int, payload: memoryview | int) -> bool:
        """Keep a write (or a zeroed length) that is about to reach the legs."""
        ...

    def done(self, hand: Hand) -> None:
        """The write of this hand reached the legs."""
        ...

    def begun_at(self, hand: Hand) -> int:
        """Position of the record that the hand appended, until it is done."""
        ...

    def stable_position(self, recorded: int) -> int:
        """Up to where a flush of the legs that starts now will have made them durable."""
        ...

    def flush(self, hand: Hand) -> None:
        """Make durable what was appended. Raises OSError."""
        ...

    def trim(self, hand: Hand, position: int) -> None:
        """All legs say durably that they hold everything up to there."""
        ...

    def begin_anew(self, hand: Hand, above: int) -> None:
        """Forget every record: positions go on above that one. Durable. A failure is told."""
        ...

    def replay(
        self,
        hand: Hand,
        leg: Leg,
        position: int,
        note: Callable[[int, int], object],
        failed: Callable[[Record, OSError], None],
    ) -> int:
        """Write onto the leg what it lacks since `position`; bytes written. Raises OSError.

        Each range is told to `note` first. `failed` is told what the leg could not take, and
        raises the error again unless it is dealt with.
        """
        ...

    @property
    def overfull(self) -> bool: ...
    @property
    def used_bytes(self) -> int: ...
    @property
    def position(self) -> int: ...

    def close(self) -> None: ...
    def destroy(self) -> None: ...


class Unjournalled:
    """Nothing is kept: a leg that comes back must have kept its own promises."""

    mode = "none"
    active = False
    overfull = False
    used_bytes = 0
    position = 0

    def append(self, hand: Hand, kind: Kind, offset: int, payload: memoryview | int) -> bool:
        return True

    def done(self, hand: Hand) -> None:
        return

    def stable_position(self, recorded: int) -> int:
        """Positions only tell copies of different age apart: each record of one is a new one."""
        return recorded + 4096

    def flush(self, hand: Hand) -> None:
        return

    def trim(self, hand: Hand, position: int) -> None:
        return

    def begin_anew(self, hand: Hand, above: int) -> None:
        return

    def replay(
        self,
        hand: Hand,
        leg: Leg,
        position: int,
        note: Callable[[int, int], object],
        failed: Callable[[Record, OSError], None],
    ) -> int:
        return 0

    def begun_at(self, hand: Hand) -> int:
        return 0

    def close(self) -> None:
        return

    def destroy(self) -> None:
        return


class Unflushed:
    """The journal of one gate. `on_failure` is told once, when it can keep no more."""

    mode = "unflushed"

    def __init__(self, directory: Path, on_failure: Callable[[str], None]) -> None:
        self._journal = Journal(directory)
        self._lock = threading.Lock()
        self._in_flight: dict[int, int] = {}
        self._on_failure = on_failure
        self.active = True

    def open(self, minimum_position: int, *, seal: bool) -> None:
        """Find the records of the time before. Raises OSError."""
        self._journal.open(minimum_position, seal)

    @property
    def begin(self) -> int:
        """Position from which on every record is there."""
        return self._journal.begin

    @property
    def position(self) -> int:
        """Position after the last record."""
        return self._journal.position

    @property
    def used_bytes(self) -> int:
        """Bytes that are kept for a replay."""
        return self._journal.position - self._journal.begin

    @property
    def overfull(self) -> bool:
        """Whether the legs should be flushed so that the journal can be emptied."""
        return self.active and self.used_bytes > CHECKPOINT_BYTES

    def append(self, hand: Hand, kind: Kind, offset: int, payload: memoryview | int) -> bool:
        """Append one record; False when the journal has failed (on_failure was called)."""
        if not self.active:
            return True
        try:
            with hand.holding(self._lock):
                hand.enter(JOURNAL)
                self._in_flight[hand.slot] = self._journal.position
                if isinstance(payload, int):
                    self._journal.append(kind, offset, payload, None)
                else:
                    self._journal.append(kind, offset, len(payload), payload)
                hand.leave()
        except OSError as error:
            hand.leave()
            self.fail(error.strerror or str(error))
            return False
        return True

    def begun_at(self, hand: Hand) -> int:
        """Position of the hand's record; the end when the journal failed meanwhile."""
        return self._in_flight.get(hand.slot, self._journal.position)

    def done(self, hand: Hand) -> None:
        """The legs have the hand's write; also called for a hand that was given up."""
        self._in_flight.pop(hand.slot, None)

    def stable_position(self, recorded: int) -> int:
        """The oldest record whose write is still on its way to the legs, or the end."""
        if not self.active:
            return recorded
        end = self._journal.position
        return max(recorded, min([end, *list(self._in_flight.values())]))

    def flush(self, hand: Hand) -> None:
        """fdatasync beside appends of other threads. A failure is told, not raised."""
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
        """Free segments before the position; a failure costs room only."""
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
        """Forget every record; when that fails, the journal has failed, and is used no more."""
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
        """Write every record since `position` onto the leg, in order, and flush it.

        Raises OSError when the leg fails or the journal is damaged. Idempotent.
        """
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
        """Stop keeping writes; idempotent."""
        if self.active:
            self.active = False
            self._in_flight.clear()
            self._on_failure(reason)

    def close(self) -> None:
        """Close the files; what was appended stays."""
        self._journal.close()

    def destroy(self) -> None:
        """Remove the journal; a failure leaves files that a later start begins anew over."""
        try:
            self._journal.destroy()
        except OSError as error:
            self._on_failure(f"removal: {os.strerror(error.errno or 5)}")
