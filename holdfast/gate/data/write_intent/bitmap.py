"""The write-intent bitmap: which regions may differ between legs.

A region's bit is durable on every in-sync leg before the region's data is written, and is cleared
lazily, long after the data was flushed on all legs. So after a crash, or when a failed leg returns,
only regions with a bit need to be copied. While any member is away no bit is cleared.

See `bitmap_on_legs` for how bits become durable.
"""

from __future__ import annotations

from collections.abc import Collection

from holdfast.gate.data.compiled import FENCE
from holdfast.gate.data.ranges import Ranges
from holdfast.gate.members.superblock import PAGE_BYTES, REGION_BYTES, bitmap_bytes
from holdfast.system.resources.memory import aligned_buffer

REGIONS_PER_PAGE = PAGE_BYTES * 8
REGION_SHIFT = REGION_BYTES.bit_length() - 1


class Bitmap:
    """Bits in memory, and which of them are known to be durable. One byte per region for speed."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.regions = -(-size_bytes // REGION_BYTES)
        self.bits = memoryview(aligned_buffer(bitmap_bytes(size_bytes)))
        self.durable = bytearray(self.regions)
        self.touched = bytearray(self.regions)

    def covers(self, offset: int, length: int) -> bool:
        """Note a write; whether all its regions have durable bits already."""
        first, last = offset >> REGION_SHIFT, (offset + length - 1) >> REGION_SHIFT
        self.touched[first : last + 1] = b"\2" * (last - first + 1)
        return self.is_durable(offset, length)

    def is_durable(self, offset: int, length: int) -> bool:
        """Whether all regions of a byte range have durable bits."""
        first, last = offset >> REGION_SHIFT, (offset + length - 1) >> REGION_SHIFT
        return self.durable.count(1, first, last + 1) == last - first + 1

    def mark(self, offset: int, length: int) -> range:
        """Set the bits of a byte range in memory; the page numbers to be made durable."""
        first, last = offset >> REGION_SHIFT, (offset + length - 1) >> REGION_SHIFT
        for region in range(first, last + 1):
            self.bits[region >> 3] |= 1 << (region & 7)
        return range(first // REGIONS_PER_PAGE, last // REGIONS_PER_PAGE + 1)

    def confirm(self, offset: int, length: int) -> None:
        """The bits of the byte range are durable on every in-sync leg."""
        first, last = offset >> REGION_SHIFT, (offset + length - 1) >> REGION_SHIFT
        self.durable[first : last + 1] = b"\1" * (last - first + 1)

    def page(self, number: int) -> memoryview:
        """One page of the bits, to be written to a leg under the lock."""
        return self.bits[number * PAGE_BYTES : (number + 1) * PAGE_BYTES]

    def pages(self) -> range:
        """All page numbers."""
        return range(len(self.bits) // PAGE_BYTES)

    def merge(self, other: bytes) -> None:
        """Add the bits that a leg has; they are not taken for durable on the others."""
        own = other[: len(self.bits)]
        merged = int.from_bytes(self.bits, "little") | int.from_bytes(own, "little")
        self.bits[:] = merged.to_bytes(len(self.bits), "little")

    def dirty(self) -> list[int]:
        """Numbers of the regions whose bit is set."""
        found = []
        for index, byte in enumerate(bytes(self.bits)):
            if byte:
                found += [index * 8 + bit for bit in range(8) if byte & 1 << bit]
        return [region for region in found if region < self.regions]

    def clear_idle(self, ranges: Ranges, unequal: Collection[int] = ()) -> set[int]:
        """Clear bits of regions not written during the last two calls; the pages that changed.

        Those that may still differ between legs keep theirs.

        Only while all members are in sync and have flushed since. The caller holds the lock and
        writes the pages; a writer that comes now finds no durable bit and waits for the lock.
        """
        changed = set()
        for region in self.dirty():
            if region in unequal:
                continue
            if self.touched[region] or ranges.touches(region * REGION_BYTES, REGION_BYTES):
                self.touched[region] = max(0, self.touched[region] - 1)
                FENCE()
                if ranges.touches(region * REGION_BYTES, REGION_BYTES):
                    self.touched[region] = 2  # a writer came between, whose note that replaced
                continue
            self.durable[region] = 0
            FENCE()
            if self.touched[region]:  # a writer came between: it believes the bit is durable
                self.durable[region] = 1
                continue
            self.bits[region >> 3] &= ~(1 << (region & 7)) & 0xFF
            changed.add(region // REGIONS_PER_PAGE)
        return changed

    def resized(self, size_bytes: int) -> Bitmap:
        """A bitmap for another size with the same bits; nothing counts as durable yet.

        Nor as idle: a writer that looked at this one may not have written yet.
        """
        other = Bitmap(size_bytes)
        shared_bytes = min(len(self.bits), len(other.bits))
        other.bits[:shared_bytes] = self.bits[:shared_bytes]
        other.touched[:] = b"\2" * other.regions
        return other
