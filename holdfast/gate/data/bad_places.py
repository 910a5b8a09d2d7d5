"""Bad places: a leg that is there, and cannot read or write one place of its medium.

Owns how such a place is told from a lost leg (the leg answers at other places), how it is read from
another leg and written again, and the wait of the request that wants it when there is none.
Invariant: only that request waits, for its own deadline, and then it alone fails; another thread
serves everybody else meanwhile. Must never take a failed flush for a bad place: nobody knows what
it was about.
"""

from __future__ import annotations

from time import monotonic_ns

from holdfast.gate.data.hold import Hold, HoldExpired
from holdfast.gate.data.ranges import Ranges
from holdfast.gate.members.leg import Leg
from holdfast.gate.members.roster import Roster
from holdfast.gate.members.superblock import MEDIUM_ERRORS, PAGE_BYTES, bitmap_offset, slot_offset
from holdfast.gate.runtime.claims import Hand
from holdfast.gate.runtime.incidents import Incident, Incidents
from holdfast.system.resources.memory import aligned_buffer

STRATEGY = "bad-place"
"""Of its receipts."""

RETRY_SECONDS = 1.0
"""How often the place is tried again. A disk tries for seconds itself."""

MOST_WAITING = 24
"""Requests that may wait at the same time, each on a thread; the kernel has 64 under way at most,
and the others shall get through. One more is answered with EIO at once."""


class BadPlaceError(Exception):
    """The leg is there, and cannot do this at that place."""

    def __init__(self, leg: Leg, doing: str, offset: int) -> None:
        self.leg = leg
        self.what = f"leg {leg.number} ({leg.url}) cannot {doing} at byte {offset}"
        super().__init__(self.what)


class BadPlaces:
    """The bad places of the legs of one mirror."""

    def __init__(self, roster: Roster, ranges: Ranges, hold: Hold, incidents: Incidents) -> None:
        self._roster = roster
        self._ranges = ranges
        self._hold = hold
        self._incidents = incidents
        self._waiting: dict[Hand, Incident] = {}

    def is_one(self, hand: Hand, leg: Leg, error: OSError, offset: int, length: int) -> bool:
        """Whether the leg reads at other places: then it is not lost. Raises GivenUp."""
        if error.errno not in MEDIUM_ERRORS:
            return False
        middle = leg.size_bytes // 2 // PAGE_BYTES * PAGE_BYTES
        data = (0, middle, leg.size_bytes - PAGE_BYTES)
        end = leg.container_bytes
        tail = (bitmap_offset(end, leg.size_bytes), slot_offset(end, 0))
        return all(
            any(
                self._reads(hand, leg, place)
                for place in places
                if not offset - PAGE_BYTES < place < offset + length
            )
            for places in (data, tail)
        )

    def _reads(self, hand: Hand, leg: Leg, offset: int) -> bool:
        view = memoryview(aligned_buffer(PAGE_BYTES))
        hand.enter(leg.number)
        try:
            leg.read(view, offset)
        except OSError:
            return False
        finally:
            hand.leave()
        return True

    def wait(self, hand: Hand, bad: BadPlaceError, since_ns: int) -> None:
        """Wait until it is time to try again; at once the first time. `over` must follow.

        Raises HoldExpired when the request has waited for as long as one may.
        """
        incident = self._waiting.get(hand)
        if incident is None:
            if len(self._waiting) >= MOST_WAITING:
                raise HoldExpired
            incident = self._incidents.begin(STRATEGY, bad.what, since_ns)
            incident.manual = True  # a story of its own, that nothing else resolves
            self._waiting[hand] = incident
            return
        if not incident.steps:
            incident.step(bad.what, "this request waits")
            hand.be_relieved()
        self._hold.wait_for_place(since_ns, RETRY_SECONDS)

    def over(self, hand: Hand, *, answered: bool) -> None:
        """The request ends, well or not. Does nothing for one that did not wait."""
        if not hand.given_up:  # else another thread has the request
            outcome = "it works again" if answered else "deadline passed: the request got EIO"
            self._over(hand, outcome, errors=int(not answered))

    def given_up(self, hand: Hand) -> None:
        """The leg hangs at the place now: whoever has the request next may wait again."""
        self._over(hand, "its leg does not answer: the request goes on elsewhere", errors=0)

    def _over(self, hand: Hand, outcome: str, *, errors: int) -> None:
        incident = self._waiting.pop(hand, None)
        if incident is None:
            return
        incident.requests_held = 1
        incident.errors_returned = errors
        incident.longest_wait_ns = monotonic_ns() - incident.started_ns
        incident.resolve(outcome)

    def read_elsewhere(self, hand: Hand, bad: BadPlaceError, view: memoryview, offset: int) -> bool:
        """Read a bad place of a leg from another one, and write it where it was bad.

        One that is being filled will do, where it has been filled already.
        False when no other can read it either. No write comes between; a leg that cannot take it
        back fails.
        """
        entered = not self._ranges.holds(hand)
        if entered:
            self._ranges.enter(hand, offset, len(view))
        try:
            readers, writers = self._roster.readers, self._roster.writers
            filled = [leg for leg in writers if leg not in readers and leg.has(offset, len(view))]
            for other in (*readers, *filled):
                if other is bad.leg:
                    continue
                hand.enter(other.number)
                try:
                    other.read(view, offset)
                except OSError as error:
                    hand.leave()
                    if not self.is_one(hand, other, error, offset, len(view)):
                        self._roster.fail(other, f"read: {error.strerror}")
                    continue
                else:
                    hand.leave()
                self._rewrite(hand, bad, other, view, offset)
                return True
            return False
        finally:
            if entered and not hand.given_up:
                self._ranges.leave(hand)

    def _rewrite(
        self, hand: Hand, bad: BadPlaceError, source: Leg, view: memoryview, offset: int
    ) -> None:
        hand.enter(bad.leg.number)
        try:
            bad.leg.write(view, offset)
        except OSError as error:
            hand.leave()
            self._roster.fail(bad.leg, f"{bad.what}, nor be written there: {error.strerror}")
        else:
            hand.leave()
            self._rewritten(bad, source)

    def _rewritten(self, bad: BadPlaceError, source: Leg) -> None:
        """A receipt for a place that was read from another leg and written again."""
        incident = self._incidents.begin(STRATEGY, bad.what)
        incident.manual = True
        incident.step(f"read from leg {source.number}, rewritten")
        incident.resolve("rewritten")
