"""Legs made equal after a crash: regions in which a write was under way when everything ended.

Every leg in sync holds all that was acknowledged, and in these regions perhaps different parts of
what was not. So each of them stays a source. Invariant: a region is made equal before anything of
it is read, so that what was read once is read ever after, whichever leg fails. A region keeps its
bit until then: whoever comes after a death begins again with all that have one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from time import monotonic, monotonic_ns

from holdfast.gate.data.bad_places import BadPlaceError
from holdfast.gate.data.ranges import Ranges
from holdfast.gate.data.reading import Reading
from holdfast.gate.data.reflexes import Reflexes
from holdfast.gate.data.task import LegTask
from holdfast.gate.members.leg import Leg, zero_all
from holdfast.gate.members.roster import Roster
from holdfast.gate.members.superblock import REGION_BYTES
from holdfast.gate.runtime import shared_page
from holdfast.gate.runtime.claims import Hand, Hands
from holdfast.gate.runtime.incidents import Incident, Incidents
from holdfast.system.resources.memory import aligned_buffer


class Equalising:
    """Regions of one mirror that are to be made equal. `before_reading` is called by every reader,
    the other methods by the main thread."""

    def __init__(
        self,
        cells: memoryview,
        hands: Hands,
        incidents: Incidents,
        roster: Roster,
        ranges: Ranges,
        reflexes: Reflexes,
        unit_bytes: int,
        reading: Reading,
        wake: Callable[[], None],
    ) -> None:
        """`unit_bytes`: the smallest place that can be bad."""
        self._cells = cells
        self._hands = hands
        self._incidents = incidents
        self._roster = roster
        self._ranges = ranges
        self._reflexes = reflexes
        self._unit_bytes = unit_bytes
        self._reading = reading
        self._wake = wake
        self.unequal: set[int] = set()
        """Regions that may differ between legs in sync."""
        self._incident: Incident | None = None
        self._task: LegTask[None] | None = None
        self.stopping = threading.Event()
        """Ends the background thread; the bits of what is left stay."""

    @property
    def hand(self) -> Hand | None:
        """Of the background thread."""
        return None if self._task is None else self._task.hand

    def begin(self, regions: Iterable[int]) -> None:
        """These may differ; `tend` must follow. Nothing was read since the crash."""
        self.unequal = set(regions)
        if self.unequal:
            cause = "writes were under way when the gate ended"
            self._incident = self._incidents.begin("resync", cause)
            self._incident.step("legs made equal", f"{len(self.unequal)} regions")
            self._cells[shared_page.EQUALISING] = 1

    def tend(self) -> None:
        """Have the background thread at work as long as there is something to do."""
        if self._task is not None and self._task.at_work:
            return
        if self.stopping.is_set():
            return
        if self.unequal and len(self._roster.writers) > 1:
            self._task = LegTask(self._hands, self._all, awaited=False)
        elif not self._roster.unsettled:
            self._end()

    def _end(self) -> None:
        """All are equal, or one leg is left: whoever returns gets every region with a bit."""
        if self._incident is not None:
            self._incident.resolve("one leg is left" if self.unequal else "equal")
            self._incident = None
        self.unequal.clear()
        self._cells[shared_page.EQUALISING] = 0

    def before_reading(self, hand: Hand, offset: int, length: int) -> None:
        """Make the regions of that range equal. Raises HoldExpired, GivenUp."""
        if self.unequal:
            first, last = offset // REGION_BYTES, (offset + length - 1) // REGION_BYTES
            for region in self.unequal.intersection(range(first, last + 1)):
                self._make_equal(hand, region)

    def _all(self, hand: Hand) -> None:
        rate = self._roster.configuration.resync_bytes_per_second
        started, done = monotonic(), 0
        while (left := self.unequal.copy()) and not self.stopping.is_set():
            if len(self._roster.writers) < 2:
                break
            self._make_equal(hand, min(left))
            done += REGION_BYTES
            if rate:
                self.stopping.wait(max(0.0, done / rate - (monotonic() - started)))
        self._wake()

    def _make_equal(self, hand: Hand, region: int) -> None:
        offset = region * REGION_BYTES
        length = min(REGION_BYTES, self._roster.configuration.size_bytes - offset)
        entered = not self._ranges.holds(hand)
        if entered:
            self._ranges.enter(hand, offset, length)
        try:
            if region in self.unequal:
                self._copy(hand, memoryview(aligned_buffer(length))[:length], offset)
                self.unequal.discard(region)
        finally:
            if entered and not hand.given_up:
                self._ranges.leave(hand)

    def _copy(self, hand: Hand, view: memoryview, offset: int) -> None:
        """Give all what the first in sync has; what none can read is left out, unit by unit."""
        roster, unit = self._roster, self._unit_bytes
        legs = roster.readers[:1], roster.writers
        try:
            self._reading.read(hand, view, offset, monotonic_ns())
        except BadPlaceError:
            if len(view) > unit:
                half = max(unit, len(view) // 2 // unit * unit)
                self._copy(hand, view[:half], offset)
                self._copy(hand, view[half:], offset + half)
            return
        for leg in legs[1]:
            if leg not in legs[0]:
                self._write(hand, leg, view, offset)
        since_ns = monotonic_ns()
        while roster.unsettled and not self._reflexes.settle(hand):
            self._reflexes.wait(since_ns)
        if legs != (roster.readers[:1], roster.writers):  # it may be another's
            self._copy(hand, view, offset)

    def _write(self, hand: Hand, leg: Leg, view: memoryview, offset: int) -> None:
        hand.enter(leg.number)
        try:
            if any(view):
                leg.write(view, offset)
            else:
                zero_all(hand, leg, offset, len(view), keep_allocated=False)
        except OSError as error:
            hand.leave()
            self._roster.fail(leg, f"made equal: {error.strerror}")
        else:
            hand.leave()
