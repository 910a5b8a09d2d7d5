"""The write-intent bitmap: a bit outlives every doubt about its region."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.gate.data.ranges import Ranges
from holdfast.gate.data.write_intent.bitmap import REGIONS_PER_PAGE, Bitmap
from holdfast.gate.members.superblock import REGION_BYTES
from holdfast.gate.runtime.claims import Hands
from holdfast.gate.runtime.shared_page import SIZE_BYTES

SIZE = 40 * REGION_BYTES
WRITES = st.lists(st.tuples(st.integers(0, SIZE - 1), st.integers(1, 3 * REGION_BYTES)))


def regions_of(offset: int, length: int) -> set[int]:
    return set(range(offset // REGION_BYTES, (offset + length - 1) // REGION_BYTES + 1))


@given(WRITES)
def test_the_bits_are_those_of_the_regions_written(writes: list[tuple[int, int]]) -> None:
    bitmap = Bitmap(SIZE)
    expected: set[int] = set()
    for offset, longest in writes:
        length = min(longest, SIZE - offset)
        known = regions_of(offset, length) <= expected
        assert bitmap.covers(offset, length) is known
        assert list(bitmap.mark(offset, length)) == [0]
        bitmap.confirm(offset, length)
        expected |= regions_of(offset, length)
    assert set(bitmap.dirty()) == expected
    other = Bitmap(SIZE)
    other.merge(bytes(bitmap.bits))
    assert set(other.dirty()) == expected
    assert not any(other.durable)
    assert set(bitmap.resized(4 * SIZE).dirty()) == expected


def test_a_bit_is_cleared_after_two_rounds_without_a_write() -> None:
    bitmap, ranges = Bitmap(SIZE), Ranges()
    bitmap.covers(0, 1)
    bitmap.mark(0, 1)
    bitmap.confirm(0, 1)
    assert bitmap.clear_idle(ranges) == set()
    assert bitmap.covers(0, 1)
    assert bitmap.clear_idle(ranges) == set()
    assert bitmap.clear_idle(ranges) == set()
    assert bitmap.clear_idle(ranges) == {0}
    assert bitmap.dirty() == []
    assert not bitmap.covers(0, 1)


def test_a_region_in_use_keeps_its_bit() -> None:
    bitmap, ranges = Bitmap(SIZE), Ranges()
    hands = Hands(memoryview(bytearray(SIZE_BYTES)).cast("Q"))
    hand = hands.take()
    bitmap.mark(0, 1)
    ranges.enter(hand, 0, 4096)
    for _ in range(4):
        assert bitmap.clear_idle(ranges) == set()
    ranges.leave(hand)
    for _ in range(2):  # what it wrote last may not be flushed yet
        assert bitmap.clear_idle(ranges) == set()
    assert bitmap.clear_idle(ranges) == {0}


def test_pages_of_a_large_volume() -> None:
    bitmap = Bitmap(2 * REGIONS_PER_PAGE * REGION_BYTES)
    boundary = REGIONS_PER_PAGE * REGION_BYTES
    assert list(bitmap.mark(boundary - 1, 2)) == [0, 1]
    assert list(bitmap.pages()) == [0, 1]
    assert bitmap.page(0)[-1] == 0x80
    assert bitmap.page(1)[0] == 0x01
