"""The journal `none`: nothing is kept, a leg that comes back must have kept its own promises."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable

from holdfast.gate.data.write_log.legs_alone import LegsAlone
from holdfast.gate.log.ring import Ring
from holdfast.gate.log.segment import Kind, Record
from holdfast.gate.members.leg import Leg
from holdfast.gate.runtime.claims import Hand


class Unjournalled(LegsAlone):
    """See WriteLog for what each method promises."""

    active = False
    continues = True
    kept = None
    overfull = False
    used_bytes = 0
    position = 0
    ring: Ring | None = None
    has_files = False
    compiled_flushes = True

    def open(self, minimum_position: int) -> None:
        pass

    def started(self, hand: Hand) -> None:
        pass

    def goes_on(self) -> None:
        pass

    def ask_once(self) -> bool:
        return False

    def append(
        self, hand: Hand, kind: Kind, offset: int, payload: memoryview | int, *, spare: bool = False
    ) -> bool:
        return True

    def begun_at(self, hand: Hand) -> int:
        return 0

    def done(self, hand: Hand) -> None:
        pass

    def stable_position(self, recorded: int) -> int:
        """A new position each time: here positions only tell copies of different age apart."""
        return recorded + 4096

    def end(self, hand: Hand) -> bool:
        return False

    def trim(self, hand: Hand, position: int) -> None:
        pass

    def keeps_before(self, position: int) -> bool:
        return False

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

    def written_since(self, position: int) -> Iterable[tuple[int, int]]:
        raise OSError(errno.EIO, "nothing is kept of writes")

    def fail(self, reason: str) -> None:
        pass

    def leave(self, change: Callable[[], None]) -> bool:
        return False

    def close(self) -> None:
        pass
