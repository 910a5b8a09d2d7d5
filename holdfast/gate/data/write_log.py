"""What the data path asks of a log of writes, and the logs there are: one for each journal mode.

A log that fails says so once, to `on_failure`, and is not active from then on: nothing is raised on
the way of a request, and nothing that it returns could be overlooked. Its storage may hang: whoever
is inside says so (JOURNAL), and can be given up.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from holdfast.gate.data.unflushed import Unflushed
from holdfast.gate.log.journal import Kind, Record
from holdfast.gate.members.leg import Leg
from holdfast.gate.runtime.claims import Hand
from holdfast.model.volume import JournalMode


class WriteLog(Protocol):
    """Writes in the order in which overlapping ones reach the legs."""

    mode: str
    active: bool
    """Whether it keeps what is appended: not where nothing is kept, nor once it has failed."""

    def __init__(self, directory: Path, on_failure: Callable[[str], None]) -> None: ...

    def open(self, minimum_position: int, *, seal: bool) -> None:
        """Find what an earlier process kept; positions go on from there. Raises OSError.

        `seal`: a process before may still write to its end.
        """
        ...

    @property
    def kept(self) -> tuple[int, int] | None:
        """Positions between which every record is there; None: it proves nothing."""
        ...

    @property
    def overfull(self) -> bool:
        """Whether the legs should be flushed so that it can be emptied."""
        ...

    @property
    def used_bytes(self) -> int:
        """What is kept for a replay."""
        ...

    @property
    def position(self) -> int:
        """After the last record."""
        ...

    def append(self, hand: Hand, kind: Kind, offset: int, payload: memoryview | int) -> None:
        """Keep a write (or a zeroed length) that is about to reach the legs."""
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

    def flush(self, hand: Hand) -> None:
        """Make durable what was appended."""
        ...

    def trim(self, hand: Hand, position: int) -> None:
        """All legs say durably that they hold everything up to there."""
        ...

    def begin_anew(self, hand: Hand, above: int) -> None:
        """Forget every record: positions go on above that one. Durable."""
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


class Unjournalled:
    """Nothing is kept: a leg that comes back must have kept its own promises."""

    mode = "none"
    active = False
    kept = None
    overfull = False
    used_bytes = 0
    position = 0

    def __init__(self, directory: Path, on_failure: Callable[[str], None]) -> None:
        pass

    def open(self, minimum_position: int, *, seal: bool) -> None:
        pass

    def append(self, hand: Hand, kind: Kind, offset: int, payload: memoryview | int) -> None:
        pass

    def begun_at(self, hand: Hand) -> int:
        return 0

    def done(self, hand: Hand) -> None:
        pass

    def stable_position(self, recorded: int) -> int:
        """Positions only tell copies of different age apart: each record of one is a new one."""
        return recorded + 4096

    def flush(self, hand: Hand) -> None:
        pass

    def trim(self, hand: Hand, position: int) -> None:
        pass

    def begin_anew(self, hand: Hand, above: int) -> None:
        pass

    def replay(
        self,
        hand: Hand,
        leg: Leg,
        position: int,
        note: Callable[[int, int], object],
        failed: Callable[[Record, OSError], None],
    ) -> int:
        return 0

    def fail(self, reason: str) -> None:
        pass

    def close(self) -> None:
        pass


LOGS: dict[JournalMode, type[WriteLog]] = {
    JournalMode.NONE: Unjournalled,
    JournalMode.UNFLUSHED: Unflushed,
}
