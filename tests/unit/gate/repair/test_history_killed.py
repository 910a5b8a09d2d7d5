"""A gate that is killed before any call to a leg, while its history is begun or ended.

It is on or off afterwards, no answered write is lost, and where it is on, what it has leads from a
copy of the leg to what the leg holds.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from holdfast.gate.log.history.layout import volume_in_history
from holdfast.gate.log.history.reading import Gap, OneStep, read
from holdfast.gate.log.segment import Kind
from holdfast.gate.repair.history_switching import HistorySwitch
from holdfast.gate.runtime.claims import Hand
from holdfast.model.history import HistoryPlace
from holdfast.model.volume import JournalMode
from holdfast.system.resources.memory import aligned_buffer
from tests.soak import rounds
from tests.unit.gate.gate_in_process import BLOCK_BYTES, InProcessGate, KilledError

SIZE = 1 << 20
MOST_CALLS = 25
"""To legs: more than a switch makes."""


def succeed() -> NoReturn:
    raise KilledError


class Switched:
    """A gate, and what its leg must hold."""

    def __init__(self, directory: Path) -> None:
        self.gate = InProcessGate(directory, SIZE, 1, JournalMode.UNFLUSHED)
        self.gate.ring_bytes = 256 << 10
        self.gate.start()
        self.image = bytearray(SIZE)

    @property
    def is_on(self) -> bool:
        """As the present worker has it."""
        return self.gate.mirror.roster.configuration.journal is JournalMode.CONTINUOUS

    def write(self, number: int) -> None:
        """Answered, and flushed each third time."""
        view = memoryview(aligned_buffer(BLOCK_BYTES))
        view[:] = bytes([number % 255 + 1]) * BLOCK_BYTES
        offset = number * 7 % (SIZE // BLOCK_BYTES) * BLOCK_BYTES
        self.gate.run(lambda hand: self.gate.mirror.write(hand, view, offset))
        self.image[offset : offset + BLOCK_BYTES] = view
        if number % 3 == 0:
            self.gate.run(self.gate.mirror.flush)

    def switch(self, *, on: bool, calls: int | None = None) -> None:
        """Once; the worker is another one afterwards."""
        place = HistoryPlace(str(self.gate.history)) if on else None

        def function(hand: Hand) -> None:
            HistorySwitch(self.gate.recovery, succeed).switch(hand, place)

        self.gate.storages.calls_to_live = calls
        with suppress(KilledError):
            self.gate.run(function)
        self.gate.storages.calls_to_live = None
        self.gate.die()
        self.gate.take_over()

    def leg(self) -> bytes:
        """What it holds."""
        return self.gate.image(1).read_bytes()[:SIZE]

    def from_history(self, base: bytes, position: int) -> bytes:
        """What becomes of a copy that is good from that position on."""
        image = bytearray(base)
        for each in read(self.gate.history, volume_in_history("the-volume"), position):
            assert not isinstance(each, Gap | OneStep)
            end = each.offset + each.length
            if each.kind is Kind.DATA:
                image[each.offset : end] = each.payload
            elif each.kind is Kind.DISCARD:
                image[each.offset : end] = bytes(each.length)
        return bytes(image)


def test_killed_while_it_is_switched(tmp_path: Path) -> None:
    it = Switched(tmp_path)
    for number in range(rounds(60, 300)):
        on = not number % 2
        it.write(3 * number)
        it.write(3 * number + 1)
        it.switch(on=on, calls=number // 2 % MOST_CALLS)
        while it.is_on is not on:
            it.switch(on=on)
        base, position = it.leg(), it.gate.mirror.roster.configuration.recorded_position
        assert base == it.image
        it.write(3 * number + 2)
        if on:
            it.gate.run(it.gate.mirror.flush)
            assert it.from_history(base, position) == it.image == it.leg()
    it.gate.die()
