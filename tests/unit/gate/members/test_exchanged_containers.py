"""Containers that took each other's places, as disks do whose names change at a restart.

What is older must never be served because it lies where the newest was, and nothing is written to a
container in the belief that it is another leg.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.errors import ForeignLeg
from holdfast.model.volume import JournalMode, LegState
from holdfast.system.resources.memory import aligned_buffer
from tests.unit.gate.gate_in_process import BLOCK_BYTES, InProcessGate

SIZE = 1 << 20


def make(folder: Path, legs: int) -> InProcessGate:
    gate = InProcessGate(folder, SIZE, legs, JournalMode.NONE)
    gate.start()
    write(gate, b"a")
    return gate


def write(gate: InProcessGate, letter: bytes) -> None:
    view = memoryview(aligned_buffer(BLOCK_BYTES))
    view[:] = letter * BLOCK_BYTES
    gate.run(lambda hand: gate.mirror.write(hand, view, 0))


def first_letter(gate: InProcessGate) -> bytes:
    view = memoryview(aligned_buffer(BLOCK_BYTES))
    gate.run(lambda hand: gate.mirror.read(hand, view, 0))
    return bytes(view[:1])


def exchange(one: Path, other: Path) -> None:
    aside = one.with_suffix(".aside")
    one.rename(aside)
    if other.exists():
        other.rename(one)
    aside.rename(other)


def test_what_is_older_is_not_served(tmp_path: Path) -> None:
    gate = make(tmp_path, 2)
    gate.close_cleanly()
    away = gate.image(1).rename(tmp_path / "away")
    gate.start()
    write(gate, b"b")
    gate.close_cleanly()
    away.rename(gate.image(1))
    exchange(gate.image(1), gate.image(2))
    with pytest.raises(ForeignLeg, match=r"1\.img"):
        gate.start()
    exchange(gate.image(1), gate.image(2))
    gate.start()
    assert first_letter(gate) == b"b"
    gate.close_cleanly()


@pytest.mark.parametrize("blank", [False, True])
def test_one_in_the_place_of_another_that_is_gone(tmp_path: Path, blank: bool) -> None:
    gate = make(tmp_path, 2)
    gate.close_cleanly()
    gate.image(2).unlink()
    exchange(gate.image(1), gate.image(2))
    if blank:
        gate.image(1).write_bytes(bytes(gate.image(2).stat().st_size))
    with pytest.raises(ForeignLeg, match=r"2\.img"):
        gate.start()
    exchange(gate.image(2), gate.image(1))
    gate.start()
    assert first_letter(gate) == b"a"
    gate.close_cleanly()


def test_a_third_one_goes_on_alone(tmp_path: Path) -> None:
    gate = make(tmp_path, 3)
    gate.close_cleanly()
    exchange(gate.image(1), gate.image(2))
    gate.start()
    assert first_letter(gate) == b"a"
    assert [leg.number for leg in gate.mirror.roster.readers] == [3]
    for number in (1, 2):
        entry = gate.mirror.roster.entry(number)
        assert entry.state is not LegState.IN_SYNC
        assert "another leg" in entry.reason
    gate.close_cleanly()
