"""From the ring to the history: frames of records that are whole, in order.

Invariants: nothing is carried before it is whole, and nothing is passed over but what belongs to a
write that never began; CARRIED in the ring says what is durable in the history, so whoever takes
over goes on from there, and the ring is not trimmed beyond it. What failed is carried again from
the ring, into another segment, never synced again in the same one.

One thread. Blocks as the history's storage does.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection
from typing import NamedTuple

from holdfast.gate.log.history.layout import (
    FRAME_HEADER_BYTES,
    MOST_FRAME_BYTES,
    frame_file_bytes,
)
from holdfast.gate.log.history.writing import LEAST_GAP_BYTES, HistoryWriter
from holdfast.gate.log.ring import Ring
from holdfast.gate.log.ring_layout import (
    BYTES,
    HEAD_BYTES,
    KIND,
    POSITION,
    TIME,
    UNIT_BYTES,
)
from holdfast.system.resources.memory import aligned_buffer


class Run(NamedTuple):
    """Records that can be carried."""

    end: int
    """Position after them."""
    records: int
    """Of them, those that are whole."""
    oldest_ns: int
    newest_ns: int


def whole_run(
    ring: Ring, position: int, named: Callable[[], Collection[int]], most_bytes: int
) -> Run:
    """The records from that position on up to the first one that may still become whole.

    `named`: positions of all records that a thread has under way. One that is not whole and not
    named never becomes whole: its name is taken back after it is. Raises OSError(EIO) when the ring
    has no record there.
    """
    cells, area, end = ring.cells, ring.area_bytes, ring.end
    start, records, oldest, newest = position, 0, 0, 0
    while position < end:
        first = (HEAD_BYTES + position % area) // 8
        size = cells[first + BYTES]
        fits = UNIT_BYTES <= size <= min(end - position, area - position % area, most_bytes)
        if cells[first + POSITION] != position or not fits or size % UNIT_BYTES:
            raise OSError(errno.EIO, f"the ring is damaged at position {position}")
        if position + size - start > most_bytes:
            break
        if not cells[first + KIND] and position in named():
            break
        if cells[first + KIND]:  # it may have become whole before its name was looked for
            time_ns = cells[first + TIME]
            records += 1
            newest = max(newest, time_ns)
            oldest = min(oldest or time_ns, time_ns)
        position += size
    return Run(position, records, oldest, newest)


class Carrier:
    """Carries one ring into one history. `go_on` comes first, and after every OSError."""

    def __init__(
        self, ring: Ring, writer: HistoryWriter, named: Callable[[], Collection[int]]
    ) -> None:
        self._ring = ring
        self._writer = writer
        self._named = named
        self._buffer = memoryview(aligned_buffer(frame_file_bytes(MOST_FRAME_BYTES)))

    @property
    def durable(self) -> int:
        """Everything before that position is in the history, or in a gap that it tells of."""
        return self._ring.carried

    @property
    def behind_bytes(self) -> int:
        """What is in the ring and not durable in the history."""
        return self._ring.end - self.durable

    def go_on(self, reason: str) -> bool:
        """Begin the next segment where the history ended. False: the ring lacks what came then, so
        a gap is told of, for that reason. Raises OSError: try again."""
        ring, writer, carried = self._ring, self._writer, self.durable
        writer.lived_at_least(ring.lived_ns)
        whole, gap_from = ring.begin <= carried, carried
        if writer.is_new:
            base = max(ring.begin, carried)
            writer.begin(base)
            ring.carried = base
            return not writer.is_cut
        if writer.is_cut:
            gap_from = writer.find_end().position
            reason = "what came before was removed"
            whole = whole and gap_from >= carried
        if whole:
            writer.begin(carried, unsettled=ring.unsettled)
        else:
            base = max(ring.begin, carried, gap_from + LEAST_GAP_BYTES)
            writer.begin(base, gap_from=gap_from, reason=reason)
            ring.carried = base
        return whole

    def look_after(self) -> bool:
        """See that it is where it was; remove what is kept long enough, once all of it was looked
        at: whether it was. Raises OSError."""
        writer = self._writer
        writer.check_place()
        self._ring.lived_ns = writer.lived_ns
        has_seen_all = writer.look_further()
        if has_seen_all:
            writer.retain()
        return has_seen_all

    def carry(self) -> bool:
        """Write one frame with what is whole; whether there was any. Not durable before `sync`.
        Raises OSError."""
        ring, writer = self._ring, self._writer
        position = writer.position
        run = whole_run(ring, position, self._named, MOST_FRAME_BYTES)
        size = run.end - position
        if not size:
            return False
        frame = self._buffer[: frame_file_bytes(size)]
        self._copy(position, frame[FRAME_HEADER_BYTES : FRAME_HEADER_BYTES + size])
        if ring.begin > position:  # it was trimmed, and perhaps written over
            raise OSError(errno.EIO, f"the ring was emptied up to {ring.begin} meanwhile")
        writer.write(frame, size, run.records, run.oldest_ns, run.newest_ns)
        return True

    def sync(self) -> None:
        """Make durable what was carried, and say so in the ring. Raises OSError."""
        self._writer.sync()
        self._ring.carried = self._writer.durable
        self._ring.lived_ns = self._writer.lived_ns

    def _copy(self, position: int, into: memoryview) -> None:
        """The bytes of the ring from a position on; they may go around the end of its area."""
        content, area = self._ring.cells.cast("B"), self._ring.area_bytes
        first = HEAD_BYTES + position % area
        size = min(len(into), HEAD_BYTES + area - first)
        into[:size] = content[first : first + size]
        into[size:] = content[HEAD_BYTES : HEAD_BYTES + len(into) - size]
