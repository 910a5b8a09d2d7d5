"""A file gate some of whose legs lie on FUSE servers that misbehave when they are told to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.gate.members.retirement import Retirement
from holdfast.gate.members.superblock import container_bytes_needed
from holdfast.gate.runtime import shared_page
from holdfast.gate.runtime.claims import Hand
from holdfast.model.volume import JournalMode
from tests.faults.fuse_leg import FuseLeg
from tests.plugs.file_gate import FileGate
from tests.plugs.gate import SIZE
from tests.waiting import wait_until


class FuseGate(FileGate):
    """`served`: the legs that do."""

    def __init__(
        self,
        directory: Path,
        legs: int,
        served: tuple[int, ...],
        journal: JournalMode = JournalMode.NONE,
    ) -> None:
        self.fuse: dict[int, FuseLeg] = {}
        self._served, self._directory = served, directory
        self.retirements: list[Retirement] = []
        super().__init__(directory, legs, journal)

    def url(self, number: int) -> str:
        """As for a file; its server is started at the first question."""
        if number in self._served and number not in self.fuse:
            leg = FuseLeg(
                self._directory / f"served{number}",
                self.image(number),
                container_bytes_needed(SIZE),
            )
            leg.start()
            self.fuse[number] = leg
        return super().url(number)

    def inside(self, number: int) -> list[Hand]:
        """The hands that are inside that leg."""
        return [each for each in self.mirror.hands.all() if each.cells[shared_page.LEG] == number]

    def give_up(self, number: int) -> list[Hand]:
        """Give up who is inside that leg, which fails, is closed, and forgotten when it may be."""
        stuck = self.inside(number)
        self.give_up_hanging(number)
        retired = self.mirror.roster.retired.take()
        self.retirements += [Retirement(leg, self.mirror.hands) for leg in retired]
        for leg in retired:
            wait_until(lambda leg=leg: points_to_nothing(leg.back_end.descriptor))  # type: ignore[misc]
        self.forget_retired()
        return stuck

    def forget_retired(self) -> bool:
        """What the main loop does each time that it comes round; whether none is left."""
        hands = self.mirror.hands
        self.retirements = [each for each in self.retirements if not each.over(hands)]
        return not self.retirements


def points_to_nothing(descriptor: int) -> bool:
    """Whether a device was released."""
    return os.readlink(f"/proc/self/fd/{descriptor}") == "/dev/null"  # noqa: PTH115


@contextmanager
def fuse_gate(
    directory: Path,
    legs: int,
    served: tuple[int, ...],
    journal: JournalMode = JournalMode.NONE,
) -> Iterator[FuseGate]:
    """Everything is served again at the end."""
    gate = FuseGate(directory, legs, served, journal)
    try:
        yield gate
    finally:
        for leg in gate.fuse.values():
            with suppress(HoldfastError, OSError):
                leg.serve()
        gate.mirror.hold.release()
        gate.mirror.hold.set_timeout(0.0)
        try:
            gate.close()
        finally:
            for leg in gate.fuse.values():
                leg.__exit__(None, None, None)
