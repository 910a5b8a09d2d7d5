"""What the data path asks of a log of writes.

A log that fails says so once, to `on_failure`, and is inactive from then on: no request gets an
exception for it. Its storage may hang: a thread inside it says so (JOURNAL) and can be given up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from holdfast.gate.log.ring import Ring
from holdfast.gate.log.segment import Kind, Record
from holdfast.gate.members.leg import Leg
from holdfast.gate.runtime.claims import Hand


class WriteLog(Protocol):
    """Writes in the order in which overlapping ones reach the legs."""

    active: bool
    """Whether it keeps what is appended. False for a log that keeps nothing, and once it has
    failed."""

    @property
    def ring(self) -> Ring | None:
        """The ring in which compiled code may append; compiled code may flush the legs then, too.
        None: it may do neither."""
        ...

    @property
    def has_files(self) -> bool:
        """Whether a flush may be answered only after its position was recorded: older records would
        be replayed after a crash of the host otherwise."""
        ...

    compiled_flushes: bool
    """Whether a flush of the legs is all that a flush is, so that compiled code may do it."""

    def open(self, minimum_position: int) -> None:
        """Find what an earlier process kept; positions continue from there. Raises OSError."""
        ...

    def started(self, hand: Hand) -> None:
        """The first worker has started: the legs have all that was found. From now on, later
        workers find this log."""
        ...

    def goes_on(self) -> None:
        """From now on later workers find this log; unlike after `started`, nothing may be
        removed."""
        ...

    @property
    def continues(self) -> bool:
        """Whether `open` found every record that was appended before."""
        ...

    @property
    def kept(self) -> tuple[int, int] | None:
        """The positions between which every record is there; None: it cannot prove that of any."""
        ...

    @property
    def overfull(self) -> bool:
        """Whether the legs should be flushed now so that it can be emptied."""
        ...

    def ask_once(self) -> bool:
        """Whether to tell somebody that it is overfull: True once, until it was trimmed."""
        ...

    @property
    def used_bytes(self) -> int:
        """Bytes kept for a replay."""
        ...

    @property
    def position(self) -> int:
        """The position after the last record."""
        ...

    def append(
        self, hand: Hand, kind: Kind, offset: int, payload: memoryview | int, *, spare: bool = False
    ) -> bool:
        """Append a write (or a zeroed length) that is about to reach the legs. False: there is no
        room, and the legs must be flushed first.

        `spare`: it is appended so that older records can be trimmed; there is always room for that,
        once.
        """
        ...

    def begun_at(self, hand: Hand) -> int:
        """The position of the record that the hand appended, until `done`."""
        ...

    def done(self, hand: Hand) -> None:
        """The write of this hand reached the legs. See Hands for one that was given up."""
        ...

    def stable_position(self, recorded: int) -> int:
        """The position up to which a flush of the legs that starts now makes them durable."""
        ...

    @property
    def shown(self) -> dict[str, object]:
        """What `volume show` says of it besides what all logs have."""
        ...

    def ask_kept(self) -> int:
        """Have everything that was appended made as durable as a flush promises; what to give
        `wait_kept`. Never blocks."""
        ...

    def wait_kept(self, position: int, seconds: float) -> bool:
        """Wait for that, at most so long; whether it is."""
        ...

    def is_late(self) -> None:
        """A flush has waited a second for that."""
        ...

    def has_kept(self, position: int) -> bool:
        """Whether it is as durable as that, so that bits of regions are not needed for it."""
        ...

    def end(self, hand: Hand) -> bool:
        """The gate ends: the legs have everything, and nothing follows. Whether that was noted, so
        that it must be recorded, too."""
        ...

    def trim(self, hand: Hand, position: int) -> None:
        """Forget records up to that position: all legs say durably, in one of their two
        superblocks, that they have them."""
        ...

    def keeps_before(self, position: int) -> bool:
        """Whether trimming twice up to there would forget anything."""
        ...

    def begin_anew(self, hand: Hand, above: int) -> None:
        """Forget every record; positions continue above that one. Later processes do not find the
        old ones."""
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

        `note` is told each range before it is written. `failed` is told what the leg could not
        take; it raises the error again unless it has dealt with it.
        """
        ...

    def written_since(self, position: int) -> Iterable[tuple[int, int]]:
        """Offset and length of every write that was appended from there on. Raises OSError where
        some of them are not known."""
        ...

    def fail(self, reason: str) -> None:
        """Stop keeping writes; told to `on_failure`. Idempotent."""
        ...

    def leave(self, change: Callable[[], None]) -> bool:
        """Stop keeping writes, on purpose: another kind of log comes after this worker. `change`
        moves positions past it, once nobody appends any more. False: it was not called, as nothing
        is kept here, or not any more."""
        ...

    def close(self) -> None:
        """Close it. What was appended stays."""
        ...
