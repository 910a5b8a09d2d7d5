"""The layout of the log ring, and how room in it is reserved.

`data/c/fast_path.c` does the same at the same time, on the same ring.
"""

from __future__ import annotations

import threading
from typing import Final, Protocol

from holdfast.gate.log.segment import PAGE_BYTES
from holdfast.gate.runtime.shared_page import LOGGED

# Cells of the head, the first page. All are 64-bit and aligned, so nobody sees half of one.
MAGIC_CELL: Final = 0
VERSION_CELL: Final = 1
AREA: Final = 2
BOOT: Final = 3  # two cells
VOLUME: Final = 5  # two cells: what the volume's id amounts to
BEGIN: Final = 7  # position of the oldest record
END: Final = 8  # position after the newest one
ASKED: Final = 9  # 1: room was asked for since the last trim
RECORDED: Final = 10  # position that the legs' superblocks say last
FILES_END: Final = 11  # where it went on from records in files, of an earlier version; 0: nowhere
STATE: Final = 12
CARRIED: Final = 13  # 1 + the position up to which the history is durable; 0: nobody knows
UNSETTLED: Final = 14  # 1: the first worker had not ended telling the history what the legs have
LIVED: Final = 15  # how long the history has been kept, ns, as of CARRIED
HEAD_BYTES: Final = PAGE_BYTES

# What STATE says. A ring that is neither of the last two says nothing, and is begun anew.
IN_USE: Final = 1  # a gate has served with it
DEAD: Final = 2  # writes went to the legs that it has not

# Cells of a record's header; the payload follows.
POSITION: Final = 0
BYTES: Final = 1  # with header and padding
KIND: Final = 2  # 0: it is not whole
OFFSET: Final = 3
LENGTH: Final = 4
TIME: Final = 5  # ns since 1970 UTC
UNIT_BYTES: Final = 64
"""Of headers and of padding."""


class Reserver(Protocol):
    """Reserves room in a ring, for one thread at a time."""

    def reserve(
        self,
        ring: memoryview,
        slot: memoryview,
        offset: int,
        length: int,
        payload_bytes: int,
        time_ns: int,
        spare_bytes: int,
    ) -> int:
        """The position of a new record that is not whole yet; -1: no room. None: the ring is dead.

        The thread's slot names the position (LOGGED) before others can see the record.
        """
        ...

    def shut(self, ring: memoryview) -> None:
        """Reserve nothing any more: the ring is dead."""
        ...


class PlainReserver:
    """See Reserver; compiled code does the same."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def reserve(
        self,
        ring: memoryview,
        slot: memoryview,
        offset: int,
        length: int,
        payload_bytes: int,
        time_ns: int,
        spare_bytes: int,
    ) -> int:
        """Skip the rest of the area: a record never wraps around its end."""
        area = len(ring) * 8 - HEAD_BYTES
        needed = UNIT_BYTES + padded(payload_bytes)
        with self._lock:
            end = ring[END]
            place = end % area
            filling = area - place if place + needed > area else 0
            position = end + filling
            if position + needed + spare_bytes > ring[BEGIN] + area:
                return -1
            if ring[STATE] == DEAD:
                return -1
            if filling:
                _write_header(ring, place, end, filling, 0, 0, 0)
            _write_header(ring, position % area, position, needed, offset, length, time_ns)
            slot[LOGGED] = position + 1
            ring[END] = position + needed
            return position

    def shut(self, ring: memoryview) -> None:
        """Under the same lock."""
        with self._lock:
            ring[STATE] = DEAD


def padded(payload_bytes: int) -> int:
    """Bytes that a payload takes in the ring."""
    return -(-payload_bytes // UNIT_BYTES) * UNIT_BYTES


def _write_header(
    ring: memoryview, place: int, position: int, size: int, offset: int, length: int, time_ns: int
) -> None:
    """The header of a record that is not whole yet; `place`: where it is in the area."""
    first = (HEAD_BYTES + place) // 8
    ring[first + KIND] = 0
    ring[first + POSITION] = position
    ring[first + BYTES] = size
    ring[first + OFFSET] = offset
    ring[first + LENGTH] = length
    ring[first + TIME] = time_ns
