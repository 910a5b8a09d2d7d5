"""Where a harbour is mapped."""

from __future__ import annotations

from holdfast.applications.rebind.agent.harbour import PAGE, choose_place
from holdfast.system.proc_text import Map

SIZE_BYTES, MEBIBYTE = 18 * PAGE, 1 << 20


def mapping(start: int, end: int, path: str = "") -> Map:
    return Map(start, end, "rw-p", 0, 0, path, (0, 0))


def test_below_a_map_with_room_for_what_grows() -> None:
    maps = [mapping(8 * MEBIBYTE, 9 * MEBIBYTE), mapping(12 * MEBIBYTE, 13 * MEBIBYTE)]
    assert choose_place(maps, SIZE_BYTES) == 12 * MEBIBYTE - PAGE - SIZE_BYTES


def test_nowhere_in_an_address_space_that_is_full() -> None:
    """Of a process of 32 bits, for example."""
    maps = [
        mapping(MEBIBYTE, 4000 * MEBIBYTE),
        mapping(4000 * MEBIBYTE + SIZE_BYTES, 4001 * MEBIBYTE),
        mapping(4090 * MEBIBYTE, 4096 * MEBIBYTE, "[stack]"),
    ]
    assert choose_place(maps, SIZE_BYTES) == 0
