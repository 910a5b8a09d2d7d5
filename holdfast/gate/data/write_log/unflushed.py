"""The journal `unflushed`: acknowledged writes that a leg has not flushed yet, in the log ring.

Appends in the order in which overlapping writes reach the legs, knows the position up to which a
flush makes the legs durable, and replays onto a leg that came back without its volatile cache.
WriteLog says what each method promises. Invariant: a write that is not in the ring is never
answered before the legs say so durably (`position` moves past the end of the ring), so that no
later replay can undo it.

Versions before 0.2 kept the records in files in the state directory. These are read until the legs
have what is in them, and removed then.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from holdfast.gate.data.compiled import reserver
from holdfast.gate.data.write_log.legs_alone import LegsAlone
from holdfast.gate.log.journal import Journal
from holdfast.gate.log.ring import Ring
from holdfast.gate.log.segment import PAGE_BYTES, PREFIX, Kind, Record
from holdfast.gate.members.leg import Leg, zero_all
from holdfast.gate.runtime.claims import Hand
from holdfast.gate.runtime.shared_page import HEAD_CELLS, LOGGED, SLOT_CELLS, SLOTS
from holdfast.system.files.durable import sync_directory
from holdfast.system.resources.memory import aligned_buffer

JOURNAL = 1 << 32
"""Stands for the log's storage where a hand says which leg it is in."""


class Unflushed(LegsAlone):
    """The ring of one gate. `on_failure` is told once, when it can keep no more."""

    compiled_flushes = True

    def __init__(
        self,
        path: Path,
        files: Path,
        volume_id: str,
        page: memoryview,
        on_failure: Callable[[str], None],
    ) -> None:
        """`path`: of the ring. `files`: where versions before had their records."""
        self._ring = Ring(path, volume_id, reserver())
        self._directory = files
        self._files: Journal | None = None
        first = HEAD_CELLS + LOGGED
        self._logged = page[first : first + SLOTS * SLOT_CELLS : SLOT_CELLS]
        self._on_failure = on_failure
        self._failing = threading.Lock()
        self.active = True
        self.continues = False

    def open(self, minimum_position: int) -> None:
        """Finds the records of earlier processes, wherever they are. Removes nothing."""
        ring = self._ring
        self.continues = ring.find(minimum_position)
        if self.continues:
            self._files = self._find_files(ring.files_end) if ring.files_end else None
            return
        self._files = self._find_files(minimum_position)
        if self._files is None:
            ring.begin_anew(minimum_position)
        else:
            ring.begin_anew(self._files.position, self._files.position)

    def started(self, hand: Hand) -> None:
        """Files that hold nothing needed are removed."""
        if self._files is None:
            try:
                with hand.inside(JOURNAL):
                    self._remove_files()
            except OSError as error:
                self.fail(f"what an earlier version left cannot be removed: {error.strerror}")
                return
        self._ring.in_use()

    def goes_on(self) -> None:
        """As the ring does."""
        self._ring.in_use()

    @property
    def ring(self) -> Ring | None:
        """None while there are files: a flush may be answered only when the legs say that the files
        are not needed any more."""
        return self._ring if self.active and self._files is None else None

    @property
    def has_files(self) -> bool:
        """Of an earlier version."""
        return self._files is not None

    def _find_files(self, minimum_position: int) -> Journal | None:
        """Open what an earlier version kept, if it reaches that position. Raises OSError."""
        if not any(self._directory.glob(PREFIX + "*")):
            return None
        files = Journal(self._directory)
        files.open()
        if files.position >= minimum_position:
            return files
        files.close()
        return None

    def _remove_files(self) -> None:
        """Durable. Raises OSError."""
        if self._files is not None:
            self._files.close()
            self._files = None
        self._ring.forget_files()
        if self._directory.exists():
            shutil.rmtree(self._directory)
            sync_directory(self._directory.parent)

    @property
    def kept(self) -> tuple[int, int] | None:
        """Bytes in the ring and in files."""
        if not self.active:
            return None
        return self._ring.begin if self._files is None else self._files.begin, self._ring.end

    @property
    def position(self) -> int:
        """Position after the last record."""
        return self._ring.end

    @property
    def used_bytes(self) -> int:
        """From the oldest record to the newest."""
        ring = self._ring
        return ring.end - (ring.begin if self._files is None else self._files.begin)

    @property
    def overfull(self) -> bool:
        """When more than half of it is in use, and while there are files."""
        return self.active and (self._ring.is_crowded or self._files is not None)

    def append(
        self, hand: Hand, kind: Kind, offset: int, payload: memoryview | int, *, spare: bool = False
    ) -> bool:
        """One record; never blocks."""
        if not self.active:
            return True
        if isinstance(payload, int):
            return self._ring.append(hand.cells, kind, offset, payload, None, spare=spare)
        return self._ring.append(hand.cells, kind, offset, len(payload), payload, spare=spare)

    def ask_once(self) -> bool:
        """When more than half of it is in use."""
        return self.active and self._ring.ask_once()

    def begun_at(self, hand: Hand) -> int:
        """Position of the hand's record; the end when there is none."""
        logged = hand.cells[LOGGED]
        return logged - 1 if logged else self._ring.end

    def done(self, hand: Hand) -> None:
        """`stable_position` does not wait for it any more."""
        hand.cells[LOGGED] = 0

    def stable_position(self, recorded: int) -> int:
        """The oldest record whose write is still on its way to the legs, or the end."""
        if not self.active:
            return recorded
        end = self._ring.end  # before anybody is asked: who comes later is behind it
        return max(recorded, min([end, *(each - 1 for each in self._logged.tolist() if each)]))

    def end(self, hand: Hand) -> bool:
        """Nothing to note."""
        return False

    def trim(self, hand: Hand, position: int) -> None:
        """Up to that record; files as a whole."""
        if self._files is not None and position >= self._ring.files_end:
            try:
                with hand.inside(JOURNAL):
                    self._remove_files()
            except OSError as error:
                self.fail(f"trim: {error.strerror}")
                return
        self._ring.trim(position)

    def keeps_before(self, position: int) -> bool:
        """In the ring, or in files."""
        return self.active and (self._files is not None or self._ring.begin < position)

    def begin_anew(self, hand: Hand, above: int) -> None:
        """A new ring, then no files."""
        self.continues = False
        try:
            with hand.inside(JOURNAL):
                self._ring.begin_anew(above + PAGE_BYTES)
                self._remove_files()
        except OSError as error:
            self.fail(f"it cannot begin anew: {error.strerror}")

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
        for record in self._records(position):
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
        hand.enter(leg.number, flushes=True)
        try:
            leg.flush()
        finally:
            hand.leave()
        return replayed

    def written_since(self, position: int) -> Iterator[tuple[int, int]]:
        """Of each record."""
        for record in self._records(position):
            if record.kind in (Kind.DATA, Kind.DISCARD):
                yield record.offset, record.length

    def _records(self, position: int) -> Iterator[Record]:
        """Those in files come first. Raises OSError."""
        if self._files is not None and position < self._ring.files_end:
            yield from self._files.records(position)
            position = self._ring.files_end
        yield from self._ring.records(position)

    def fail(self, reason: str) -> None:
        """Not used any more until the next start. What it lacks is answered only after positions
        have moved past it, on the legs."""
        if not self._failing.acquire(blocking=False):
            return
        self._ring.shut()
        self._on_failure(reason)
        self.active = False

    def leave(self, change: Callable[[], None]) -> bool:
        """As `fail`; `change` moves positions past it."""
        if not self._failing.acquire(blocking=False):
            return False
        self._ring.shut()
        change()
        self.active = False
        return True

    def close(self) -> None:
        """The ring stays where it is, and the files."""
        if self._files is not None:
            self._files.close()
