"""When a file system counts as nearly full, and when no more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.policy.room import ENOUGH_BYTES, FreeRoom, Shortage, shortage

GIB = 1 << 30


def short(free: int, total: int, before: Shortage = Shortage()) -> Shortage:  # noqa: B008 - frozen
    return shortage(FreeRoom(total, free, 0, 0), before)


def test_bytes() -> None:
    assert not short(6 * GIB, 100 * GIB)
    assert short(4 * GIB, 100 * GIB) == Shortage(bytes=True)
    assert short(0, 100 * GIB) == Shortage(bytes=True, grave=True)
    assert not short(ENOUGH_BYTES, 1000 * ENOUGH_BYTES)


def test_inodes() -> None:
    assert shortage(FreeRoom(GIB, GIB, 1000, 3), Shortage()) == Shortage(inodes=True, grave=True)
    assert not shortage(FreeRoom(GIB, GIB, 0, 0), Shortage())


def test_it_ends_well_above_where_it_began() -> None:
    assert not short(6 * GIB, 100 * GIB)
    assert short(6 * GIB, 100 * GIB, Shortage(bytes=True))
    assert not short(8 * GIB, 100 * GIB, Shortage(bytes=True))


@given(st.integers(0, 1 << 60), st.integers(0, 1 << 60), st.integers(0, 1 << 60), st.booleans())
def test_more_room_is_never_worse(total: int, free: int, more: int, before: bool) -> None:
    was = Shortage(bytes=before)
    assert not (short(free + more, total, was) and not short(free, total, was))
