"""What changes while no leg is there: whoever had the data is taken back all the same.

No leg could be told of such a change, so it proves nothing about one that returns.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.gate.data.task import LegTask
from holdfast.gate.members.configuration import load_configuration
from holdfast.gate.repair.resync import Resync
from holdfast.model.volume import JournalMode
from tests.unit.gate.blocks import block_of, on_leg, read, states, write
from tests.unit.gate.gate_in_process import InProcessGate

Make = Callable[[int], InProcessGate]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[InProcessGate] = []

    def make(legs: int) -> InProcessGate:
        gate = InProcessGate(tmp_path, 4 << 20, legs, JournalMode.UNFLUSHED)
        gate.start()
        made.append(gate)
        write(gate, b"1", 0, flush=True)
        return gate

    yield make
    for gate in made:
        gate.die()


def lose(gate: InProcessGate, number: int) -> None:
    gate.image(number).rename(gate.image(number).with_suffix(".away"))
    gate.mirror.roster.fail(gate.mirror.roster.present[number], "its cable was moved")
    gate.tend()


def give_back(gate: InProcessGate, number: int) -> None:
    gate.image(number).with_suffix(".away").rename(gate.image(number))
    gate.bring_back(gate.mirror.roster.entry(number))


def read_held(gate: InProcessGate, number: int) -> bytes:
    """The first block, by a request that waits until that leg is back."""
    view = block_of(b"?")
    task = LegTask(gate.mirror.hands, lambda hand: gate.mirror.read(hand, view, 0))
    give_back(gate, number)
    task.result(20)
    return bytes(view[:1])


def test_the_deadline_of_later_holds_is_changed(make: Make) -> None:
    gate = make(1)
    lose(gate, 1)
    roster = gate.mirror.roster
    roster.configure(hold_timeout_seconds=900.0)
    gate.run(gate.mirror.settling.settle)
    assert read_held(gate, 1) == b"1"
    assert load_configuration(gate.state_directory).hold_timeout_seconds == 900.0


def test_the_journal_fails(make: Make) -> None:
    gate = make(1)
    lose(gate, 1)
    gate.mirror.log.fail("no space left")  # type: ignore[attr-defined]
    assert read_held(gate, 1) == b"1"
    write(gate, b"2", 4096, flush=True)
    gate.die()
    gate.start()
    assert (read(gate, 0), read(gate, 4096)) == (b"1", b"2")


def test_a_leg_that_was_being_filled_fails_after_its_source(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both hang off one switch."""
    gate = make(2)
    lose(gate, 2)
    write(gate, b"2", 0, flush=True)
    go_on = threading.Event()
    copy = Resync._copy

    def late(self: Resync, *arguments: object) -> int:
        go_on.wait(20)
        return copy(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Resync, "_copy", late)
    give_back(gate, 2)
    lose(gate, 1)
    lose(gate, 2)
    go_on.set()
    assert read_held(gate, 1) == b"2"
    give_back(gate, 2)
    gate.finish_resyncs()
    assert states(gate) == {1: "in-sync", 2: "in-sync"}
    assert on_leg(gate, 2, 0) == b"2"


def test_who_was_left_behind_before_stays_behind(make: Make) -> None:
    """A change that was told to nobody lets nobody in either."""
    gate = make(2)
    lose(gate, 2)
    write(gate, b"2", 0, flush=True)
    lose(gate, 1)
    roster = gate.mirror.roster
    roster.configure(hold_timeout_seconds=900.0)
    with pytest.raises(Exception, match="is behind"):
        give_back(gate, 2)
    assert read_held(gate, 1) == b"2"
