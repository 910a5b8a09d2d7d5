"""The write-intent bitmap where it must be durable: on every leg in sync.

There is one bitmap at a time and one lock of it: whoever changes bits asks for the bitmap when it
has the lock, because a growth puts another in its place meanwhile. Invariant: a region's bit is on
every leg in sync before its data is written; a leg that cannot keep bits fails, except the last
one at a bad place, from whose epoch on nobody relies on bits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

from holdfast.gate.data.bad_places import BadPlaces
from holdfast.gate.data.ranges import Ranges
from holdfast.gate.data.write_intent.bitmap import Bitmap
from holdfast.gate.members.inside_leg import inside_leg
from holdfast.gate.members.leg import Leg
from holdfast.gate.members.roster import Roster
from holdfast.gate.members.superblock import PAGE_BYTES, bitmap_offset
from holdfast.gate.runtime.claims import Hand
from holdfast.gate.runtime.shared_page import renew_plan


class BitmapOnLegs:
    """The bitmap of one mirror. Blocks as legs do; raises GivenUp."""

    def __init__(
        self, roster: Roster, places: BadPlaces, bitmap: Bitmap, cells: memoryview
    ) -> None:
        self._roster = roster
        self._places = places
        self._bitmap = bitmap
        self._cells = cells
        self.lock = threading.Lock()
        self._given_up = 0
        """The epoch in which the last leg could not keep a page of the bitmap."""
        self._wanted: dict[int, tuple[int, int]] = {}
        """Offset and length of what is about to be written for the first time, by hand number."""
        self._wanting = threading.Lock()

    @property
    def bitmap(self) -> Bitmap:
        """The bits. Replaced only under the lock, or at a start, when nobody else is at work."""
        return self._bitmap

    @bitmap.setter
    def bitmap(self, bitmap: Bitmap) -> None:
        self._bitmap = bitmap
        renew_plan(self._cells)

    def intend(self, hand: Hand, offset: int, length: int) -> None:
        """Make the bits of a range durable on every in-sync leg before its data is written.

        Whoever has the lock does it for everybody who waits for the lock: they need not flush
        again.
        """
        with self._wanting:
            self._wanted[hand.number] = offset, length
        try:
            with hand.holding(self.lock):
                if not self.bitmap.is_durable(offset, length):
                    self._make_wanted_durable(hand)
        finally:
            with self._wanting:
                del self._wanted[hand.number]

    def _make_wanted_durable(self, hand: Hand) -> None:
        bitmap = self.bitmap
        with self._wanting:
            wanted = list(self._wanted.values())
        pages: set[int] = set()
        for offset, length in wanted:
            pages.update(bitmap.mark(offset, length))
        self._write(hand, pages, flush=True)
        for offset, length in wanted:
            bitmap.confirm(offset, length)

    def secure(self, hand: Hand) -> None:
        """Make every bit durable on the legs in sync."""
        if self._roster.has_bits:
            with hand.holding(self.lock):
                self._write(hand, set(self.bitmap.pages()), flush=True)

    def clear(self, hand: Hand) -> None:
        """No region differs any more: durable without a bit."""
        with hand.holding(self.lock):
            self.bitmap.bits[:] = bytes(len(self.bitmap.bits))
            self._write(hand, set(self.bitmap.pages()), flush=True)

    def clear_idle(self, hand: Hand, ranges: Ranges, unequal: Collection[int]) -> bool:
        """Clear bits of regions that are the same on all legs; whether any bit is left."""
        with hand.holding(self.lock):
            pages = self.bitmap.clear_idle(ranges, unequal)
            if pages:
                self._write(hand, pages, flush=False)
        return any(self.bitmap.bits)

    def takes_writes(self, hand: Hand, leg: Leg) -> bool:
        """Whether a leg can be written elsewhere: a page of its bitmap, as it is."""
        with hand.holding(self.lock):
            hand.enter(leg.number)
            try:
                leg.write_bitmap(self.bitmap.page(0), 0)
            except OSError:
                return False
            finally:
                hand.leave()
        return True

    def promote(self, hand: Hand, leg: Leg, believe: Callable[[], None]) -> bool:
        """Give a leg that has all data the bits, and make it a source; the caller settles.

        `believe`: wait until others would have said what they heard of that flush, or of theirs.
        False when it has failed, meanwhile or at this.
        """
        with hand.holding(self.lock):
            with inside_leg(self._roster, hand, leg, "resynchronisation"):
                for page in self.bitmap.pages():
                    leg.write_bitmap(self.bitmap.page(page), page)
                leg.flush()
            believe()
            return self._roster.promote(leg)

    def _write(self, hand: Hand, pages: set[int], *, flush: bool) -> None:
        """Write bitmap pages to the in-sync legs; the caller holds the lock."""
        for leg in self._roster.readers:
            hand.enter(leg.number)
            try:
                for page in pages:
                    leg.write_bitmap(self.bitmap.page(page), page)
            except OSError as error:
                hand.leave()
                if not self._go_without_bits(hand, leg, error, pages):
                    self._roster.fail(leg, f"bitmap: {error.strerror}")
                continue
            hand.leave()
            if flush:
                with inside_leg(self._roster, hand, leg, "bitmap"):
                    leg.flush()

    def _go_without_bits(self, hand: Hand, leg: Leg, error: OSError, pages: set[int]) -> bool:
        """Whether the last leg may go on although it cannot keep its bitmap, at a bad place.

        Bits say what legs lack that are away: from this epoch on, which the caller settles before
        it answers, they lack everything.
        """
        offset = bitmap_offset(leg.container_bytes, leg.size_bytes)
        length = PAGE_BYTES * (max(pages) + 1)
        last = self._roster.readers == (leg,)
        if not last or not self._places.is_one(hand, leg, error, offset, length):
            return False
        if self._roster.configuration.epoch != self._given_up:
            self._given_up = self._roster.distrust_bits()
        return True
