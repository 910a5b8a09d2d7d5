"""What the data path asks of a log of writes.

A log that fails says so once, to `on_failure`, and is not active from then on: nothing is raised on
the way of a request. Its storage may hang: whoever is inside says so (JOURNAL) and can be given up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from holdfast.gate.log.ring import Ring
from holdfast.gate.log.segment import Kind, Record
from holdfast.gate.members.leg import Leg
from holdfast.gate.runtime.claims import Hand


class WriteLog(Protocol):
    """Writes in the order in which overlapping ones reach the legs."""

    active: bool
    """Whether it keeps what is appended: not where nothing is kept, nor once it has failed."""

    @property
    def ring(self) -> Ring | None:
        """Where compiled code may append, and flush the legs; None: it may do neither."""
        ...

    @property
    def has_files(self) -> bool:
        """Whether a flush may be answered only after its position was recorded: until then records
        of before would be replayed after a crash of the host."""
        ...

    def open(self, minimum_position: int) -> None:
        """Find what an earlier process kept; positions go on from there. Raises OSError."""
        ...

    def started(self, hand: Hand) -> None:
        """A first start has ended: the legs have all that was found. From now on whoever comes next
        finds it."""
        ...

    def goes_on(self) -> None:
        """The same at a takeover, where nothing may be removed."""
        ...

    @property
    def continues(self) -> bool:
        """Whether `open` found every record that was appended before."""
        ...

    @property
    def kept(self) -> tuple[int, int] | None:
        """Positions between which every record is there; None: it proves nothing."""
        ...

    @property
    def overfull(self) -> bool:
        """Whether the legs should be flushed now so that it can be emptied."""
        ...

    def ask_once(self) -> bool:
        """Whether somebody should be told that it is overfull; once, until it was emptied."""
        ...

    @property
    def used_bytes(self) -> int:
        """What is kept for a replay."""
        ...

    @property
    def position(self) -> int:
        """After the last record."""
        ...

    def append(
        self, hand: Hand, kind: Kind, offset: int, payload: memoryview | int, *, spare: bool = False
    ) -> bool:
        """Keep a write (or a zeroed length) that is about to reach the legs; False: there is no
        room for it, and the legs must be flushed first. `spare`: what is kept so that older records
        can go; there is room for it, once."""
        ...

    def begun_at(self, hand: Hand) -> int:
        """Position of the record that the hand appended, until it is done."""
        ...

    def done(self, hand: Hand) -> None:
        """The write of this hand reached the legs, or the hand was given up."""
        ...

    def stable_position(self, recorded: int) -> int:
        """Up to where a flush of the legs that starts now will have made them durable."""
        ...

    def trim(self, hand: Hand, position: int) -> None:
        """All legs say durably, in one of two superblocks, that they hold all up to there."""
        ...

    def keeps_before(self, position: int) -> bool:
        """Whether there is anything that trimming up to there, twice, would forget."""
        ...

    def begin_anew(self, hand: Hand, above: int) -> None:
        """Forget every record: positions go on above that one. No process finds them any more."""
        ...

    def replay(
        self,
        hand: Hand,
        leg: Leg,
        position: int,
        note: Callable[[int, int], object],
        failed: Callable[[Record, OSError], None],
    ) -> int:
        """Write onto the leg what it lacks since `position`; bytes written. Raises OSError.

        Each range is told to `note` first. `failed` is told what the leg could not take, and
        raises the error again unless it is dealt with.
        """
        ...

    def fail(self, reason: str) -> None:
        """Stop keeping writes; told to `on_failure`. Idempotent."""
        ...

    def close(self) -> None:
        """Let go of it; what was appended stays."""
        ...
