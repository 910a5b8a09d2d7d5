"""A worker that was killed inside of a flush: whoever comes next believes no other flush of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.gate.runtime import shared_page
from holdfast.gate.runtime.claims import Hands
from holdfast.model.volume import JournalMode
from tests.plugs.gate import BLOCK, MemoryGate, written_gate
from tests.unit.gate.blocks import on_leg, states, write
from tests.unit.gate.gate_in_process import InProcessGate, KilledError

REGION = 1 << 20


@pytest.fixture
def gate(memory_kind: object, tmp_path: Path) -> Iterator[MemoryGate]:
    with written_gate(tmp_path, 2) as gate:
        yield gate


def flushed_when_killed(gate: MemoryGate, *numbers: int) -> None:
    """The next worker takes over from one that was inside flushes of these legs."""
    for number in numbers:
        gate.mirror.hands.take().enter(number, flushes=True)
    gate.kill_worker()


def test_without_a_log_the_other_leg_is_believed(gate: MemoryGate) -> None:
    flushed_when_killed(gate, 2)
    assert gate.states() == {1: "in-sync", 2: "failed"}
    gate.kernel.write(0, b"h" * BLOCK).result()
    gate.bring_back(2)
    flushed_when_killed(gate)
    assert gate.states()[1] == "in-sync"


@pytest.mark.parametrize("numbers", [(), (1, 2)], ids=["none", "all"])
def test_without_a_log_and_without_another_leg_they_stay(
    gate: MemoryGate, numbers: tuple[int, ...]
) -> None:
    flushed_when_killed(gate, *numbers)
    assert gate.states() == {1: "in-sync", 2: "in-sync"}
    found = [incident.strategy for incident in gate.incidents.open]
    assert ("resync" in found) == bool(numbers)
    gate.kernel.write(0, b"h" * BLOCK).result()


def test_a_successor_that_dies_at_once_leaves_it_to_the_next(gate: MemoryGate) -> None:
    gate.mirror.hands.take().enter(2, flushes=True)
    Hands(gate.cells).take().enter(1)
    flushed_when_killed(gate)
    assert gate.states()[2] == "failed"
    assert shared_page.unheard_legs(gate.cells) == set()


def test_who_has_left_is_not_inside(gate: MemoryGate) -> None:
    with gate.mirror.hands.take().inside(2, flushes=True):
        pass
    flushed_when_killed(gate)
    assert gate.states() == {1: "in-sync", 2: "in-sync"}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("unheard", [False, True])
def test_a_leg_that_is_filled_is_filled_from_its_beginning(tmp_path: Path, unheard: bool) -> None:
    gate = InProcessGate(tmp_path, 8 * REGION, 1, JournalMode.NONE)
    gate.start()
    for region in range(8):
        write(gate, b"1", region * REGION)
    gate.storages.calls_to_live = 20
    with pytest.raises(KilledError):
        gate.run(lambda hand: gate.changes.add(hand, f"file:{gate.image(2)}"))
        gate.finish_resyncs()
    gate.die()
    gate.storages.calls_to_live = None
    shared_page.remember_copied(gate.cells, 2, 8)
    with gate.image(2).open("r+b") as image:
        image.write(b"0")  # what was lost
    gate.cells[shared_page.FIRST_UNHEARD] = 2 if unheard else 0
    gate.take_over()
    gate.finish_resyncs()
    assert states(gate) == {1: "in-sync", 2: "in-sync"}
    assert on_leg(gate, 2, 0) == (b"1" if unheard else b"0")
    gate.die()
