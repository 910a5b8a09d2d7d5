"""When a file system is nearly full, or has nearly no inodes left. Pure.

Invariant: what comes and goes around a bound is one trouble: it ends well above where it began.
"""

from __future__ import annotations

from holdfast.late_dataclass import dataclass

NEARLY_FULL_SHARE, ROOM_AGAIN_SHARE = 0.05, 0.07
"""Of what ordinary users may fill."""

FULL_SHARE = 0.01
"""Somebody's next write may fail."""

ENOUGH_BYTES = 20 << 30
"""On very large file systems a twentieth is plenty."""

ENOUGH_INODES = 100_000


@dataclass(frozen=True)
class FreeRoom:
    """What statvfs(3) says. `free`: to ordinary users; `total`: theirs, used or free."""

    total_bytes: int
    free_bytes: int
    total_inodes: int
    """0: it makes as many as it needs."""
    free_inodes: int


@dataclass(frozen=True)
class Shortage:
    """What there is too little of."""

    bytes: bool = False
    inodes: bool = False
    grave: bool = False
    """Next to nothing."""

    def __bool__(self) -> bool:
        return self.bytes or self.inodes


def shortage(room: FreeRoom, before: Shortage) -> Shortage:
    """What there is too little of now. `before`: what there was too little of the last time."""
    few_bytes = _is_short(room.free_bytes, room.total_bytes, ENOUGH_BYTES, before.bytes)
    few_inodes = _is_short(room.free_inodes, room.total_inodes, ENOUGH_INODES, before.inodes)
    grave = (few_bytes and room.free_bytes < FULL_SHARE * room.total_bytes) or (
        few_inodes and room.free_inodes < FULL_SHARE * room.total_inodes
    )
    return Shortage(few_bytes, few_inodes, grave)


def _is_short(free: int, total: int, enough: int, was_short: bool) -> bool:
    share = ROOM_AGAIN_SHARE if was_short else NEARLY_FULL_SHARE
    return total > 0 and free < enough and free < share * total
