"""Blocks of one letter, written to and read from a gate that runs in this process."""

from __future__ import annotations

import os

from holdfast.gate.runtime.claims import Hand
from holdfast.system.resources.memory import aligned_buffer
from tests.unit.gate.gate_in_process import BLOCK_BYTES, InProcessGate


def block_of(letter: bytes) -> memoryview:
    """One block that is full of the letter."""
    view = memoryview(aligned_buffer(BLOCK_BYTES))
    view[:] = letter * BLOCK_BYTES
    return view


def write(gate: InProcessGate, letter: bytes, offset: int, *, flush: bool = False) -> None:
    """Write a block; it was answered when this returns."""
    view = block_of(letter)

    def function(hand: Hand) -> None:
        gate.mirror.write(hand, view, offset)
        if flush:
            gate.mirror.flush(hand)

    gate.run(function)


def read(gate: InProcessGate, offset: int) -> bytes:
    """The letter of which a block is full."""
    view = block_of(b"?")
    gate.run(lambda hand: gate.mirror.read(hand, view, offset))
    assert bytes(view) == bytes(view[:1]) * BLOCK_BYTES
    return bytes(view[:1])


def on_leg(gate: InProcessGate, number: int, offset: int) -> bytes:
    """The first letter of that block of a leg's image."""
    descriptor = os.open(gate.image(number), os.O_RDONLY)
    try:
        return os.pread(descriptor, 1, offset)
    finally:
        os.close(descriptor)


def states(gate: InProcessGate) -> dict[int, str]:
    """What the gate says of its legs."""
    return {leg.number: str(leg.state) for leg in gate.mirror.roster.configuration.legs}
