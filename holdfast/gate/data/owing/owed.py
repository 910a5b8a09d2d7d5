"""Writes that the journal holds and a leg cannot take, because the medium is bad at their place.

Owns their contents in memory, by unit (the volume's sector), and from which position on the journal
must be kept for them. Invariant: until a place could be written, or was written over, reads of it
are answered from here, and the legs do not count as durable beyond that position. So a replay finds
these writes again after any death. The number is bounded: a leg that owes more has failed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from holdfast.gate.members.leg import Leg, zero_all
from holdfast.gate.members.superblock import MEDIUM_ERRORS
from holdfast.gate.runtime.claims import Hand

MOST_UNITS = 256
"""1 MiB of sectors of 4096 bytes: a disk has used up its spare sectors long before."""


class TooManyError(OSError):
    """A leg owes more than a leg in use may."""


class Owed:
    """Contents by offset. Safe to use from several threads; one place by one thread at a time."""

    def __init__(self, unit_bytes: int, began: Callable[[], None] = lambda: None) -> None:
        """`began`: reads have to look here from now on."""
        self.unit_bytes = unit_bytes
        self._began = began
        self._units: dict[int, bytes] = {}
        self._positions: dict[int, int] = {}
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._units)

    @property
    def size_bytes(self) -> int:
        """How much is kept."""
        return len(self._units) * self.unit_bytes

    @property
    def words(self) -> str:
        """For people; empty when nothing is owed."""
        places = self.offsets
        if not places:
            return ""
        size_bytes = len(places) * self.unit_bytes
        return f"{size_bytes} bytes, from byte {places[0]} on, cannot be written: in the journal"

    @property
    def since(self) -> int | None:
        """Position of the oldest record that is needed; None: nothing is owed."""
        return min(self._positions.copy().values(), default=None)

    @property
    def offsets(self) -> list[int]:
        """Where the legs lack something, in order."""
        return sorted(self._units.copy())

    @property
    def contents(self) -> dict[int, bytes]:
        """All of it, by offset."""
        return self._units.copy()

    def content(self, offset: int) -> bytes | None:
        """The contents owed for one unit; None: the legs have it."""
        return self._units.get(offset)

    def keep(self, offset: int, content: memoryview, position: int) -> None:
        """A unit of the record at that position could not be written. Raises TooManyError."""
        with self._lock:
            if offset not in self._units and len(self._units) >= MOST_UNITS:
                raise TooManyError(5, f"more than {MOST_UNITS} places cannot be written")
            self._units[offset] = bytes(content)
            self._positions[offset] = min(position, self._positions.get(offset, position))
        self._began()

    def forget(self, offset: int, length: int) -> bool:
        """The legs have this range now, or will get it from a new write; whether any of it was
        owed."""
        if not self._units:
            return False
        with self._lock:
            held = [each for each in self._units if offset <= each < offset + length]
            for each in held:
                del self._units[each]
                self._positions.pop(each, None)
        return bool(held)

    def carried(self, offset: int, position: int) -> None:
        """The contents of a unit were appended to the journal again, at that position."""
        with self._lock:
            if offset in self._units:
                self._positions[offset] = position

    def add(self, other: Owed) -> None:
        """Add what another leg lacks. Raises TooManyError."""
        for offset in other.offsets:
            self.keep(offset, memoryview(other._units[offset]), other._positions[offset])

    def pieces(self, offset: int, length: int) -> Iterator[tuple[int, int, bytes | None]]:
        """The range in parts, each with its begin, its end, and its content where it is owed."""
        units, end = self._units.copy(), offset + length
        for place in sorted(each for each in units if offset <= each < end):
            if offset < place:
                yield offset, place, None
            offset = place + self.unit_bytes
            yield place, offset, units[place]
        if offset < end:
            yield offset, end, None

    def touches(self, offset: int, length: int) -> bool:
        """Whether any of the range is owed."""
        return bool(self._units) and any(
            offset <= each < offset + length for each in self._units.copy()
        )


def store_around(
    hand: Hand,
    leg: Leg,
    offset: int,
    what: memoryview | int,
    unit_bytes: int,
    bad: Callable[[int, memoryview], None],
) -> None:
    """Write (or zero so many bytes) on the leg; units that it cannot take are told to `bad`.

    For a range that failed as a whole: it is halved until the bad units are found, so that disks
    are asked for few of them. Raises OSError for any other error, GivenUp.
    """
    length = what if isinstance(what, int) else len(what)
    hand.enter(leg.number)
    try:
        if isinstance(what, int):
            zero_all(hand, leg, offset, length, keep_allocated=False)
        else:
            leg.write(what, offset)
    except OSError as error:
        hand.leave()
        if error.errno not in MEDIUM_ERRORS:
            raise
        if length <= unit_bytes:
            bad(offset, memoryview(bytes(length)) if isinstance(what, int) else what)
            return
        half = max(unit_bytes, length // 2 // unit_bytes * unit_bytes)
        first, second = (
            (half, length - half) if isinstance(what, int) else (what[:half], what[half:])
        )
        store_around(hand, leg, offset, first, unit_bytes, bad)
        store_around(hand, leg, offset + half, second, unit_bytes, bad)
    else:
        hand.leave()
