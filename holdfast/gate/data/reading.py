"""Reading what is the same on all legs: from one leg, from another where that one is bad, and from
memory what is owed. Must never wait for a bad place: that is for whoever has the request."""

from __future__ import annotations

from holdfast.gate.data.bad_places import BadPlaceError, BadPlaces
from holdfast.gate.data.hold import Hold
from holdfast.gate.data.owing.owed import Owed
from holdfast.gate.members.roster import Roster
from holdfast.gate.runtime.claims import Hand


class Reading:
    """How one mirror is read."""

    def __init__(self, roster: Roster, hold: Hold, places: BadPlaces, owed: Owed) -> None:
        self._roster = roster
        self._hold = hold
        self._places = places
        self._owed = owed

    def read(self, hand: Hand, view: memoryview, offset: int, since_ns: int) -> None:
        """Fill the view. Waits for a leg, as a request that began then.

        Raises BadPlaceError when no leg can read it, HoldExpired, GivenUp.
        """
        if not self._owed.touches(offset, len(view)):
            self._read_leg(hand, view, offset, since_ns)
            return
        for begin, end, content in self._owed.pieces(offset, len(view)):
            part = view[begin - offset : end - offset]
            if content is None:
                self._read_leg(hand, part, begin, since_ns)
            else:
                part[:] = content

    def _read_leg(self, hand: Hand, view: memoryview, offset: int, since_ns: int) -> None:
        while True:
            readers = self._roster.readers
            if not readers:
                self._hold.wait_for_storage(since_ns=since_ns)
                continue
            leg = readers[0]
            hand.enter(leg.number)
            try:
                hand.hear_refusal(leg)
                leg.read(view, offset)
            except OSError as error:
                hand.leave()
                if not self._places.is_one(hand, leg, error, offset, len(view)):
                    self._roster.fail(leg, f"read: {error.strerror}")
                    continue
                bad = BadPlaceError(leg, "read", offset)
                if not self._places.read_elsewhere(hand, bad, view, offset):
                    raise bad from error
                return
            else:
                hand.leave()
                return
