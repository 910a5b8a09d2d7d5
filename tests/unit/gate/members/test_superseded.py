"""A coordinator that arbitrates: who may go on is its to say, and a refusal is final.

Nothing that needs a new epoch is answered before it has agreed, whatever hangs, fails or dies; and
once it has refused, no process of this gate acknowledges anything any more.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.errors import StaleLeg, Superseded
from holdfast.gate.front.front_end import FLUSH
from holdfast.gate.members.epoch_memory import STATE
from holdfast.gate.runtime import shared_page
from tests.plugs.gate import BLOCK, MemoryGate, written_gate
from tests.plugs.memory_front import Asked
from tests.plugs.rival import RivalCoordinator
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("memory_kind")


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[MemoryGate]:
    with written_gate(tmp_path, 2) as gate:
        yield gate


def needs_an_epoch(gate: MemoryGate) -> Asked:
    """A write that leg 1 cannot take: it may be answered when the epoch without that leg is."""
    gate.medium(1).broken = True
    return gate.kernel.write(0, b"h" * BLOCK)


def is_refused(gate: MemoryGate, asked: Asked) -> None:
    """It waits as in any hold, and gets EIO at the deadline: the one way to end without a lie."""
    assert not asked.answered.is_set()
    gate.cells[shared_page.STORAGE_HOLD_DEADLINE] = 1
    assert gate.mirror.hold.enforce() == "expired"
    assert asked.answered.wait(20)
    assert asked.refused


def upkeep(gate: MemoryGate) -> None:
    """What a worker does about once a second."""
    assert gate.recovery.upkeep.due
    gate.run(gate.recovery.upkeep.checkpoint)


def test_who_was_superseded_answers_nothing_and_uses_no_leg(gate: MemoryGate) -> None:
    gate.coordinator.taken(1000)
    asked = needs_an_epoch(gate)
    wait_until(lambda: gate.mirror.hold.storage_lost)
    assert "another host" in gate.mirror.roster.superseded
    assert not gate.mirror.roster.present
    gate.medium(1).broken = False
    with pytest.raises(Superseded):
        gate.bring_back(2)
    is_refused(gate, asked)


@pytest.mark.parametrize("held", [True, False], ids=["", "killed before it held"])
def test_so_does_every_worker_after_it(gate: MemoryGate, held: bool) -> None:
    gate.coordinator.taken(1000)
    asked = needs_an_epoch(gate)
    wait_until(lambda: gate.mirror.hold.storage_lost)
    gate.medium(1).broken = False
    for _ in range(2):
        if not held:
            gate.cells[shared_page.STORAGE_HOLD_SINCE] = 0
        gate.kill_worker()
        assert gate.mirror.hold.storage_lost
        assert not gate.mirror.roster.present
        with pytest.raises(StaleLeg):
            gate.bring_back(1)
        with pytest.raises(Superseded):
            gate.bring_back(2)
    is_refused(gate, asked)
    assert gate.medium(1).content[:BLOCK] == b"g" * BLOCK


def test_nothing_is_asked_after_a_refusal(gate: MemoryGate) -> None:
    gate.coordinator.taken(1000)
    needs_an_epoch(gate)
    wait_until(lambda: gate.mirror.hold.storage_lost)
    gate.kill_worker()
    asked = gate.coordinator.asked
    gate.mirror.memory.save_soon("gate.json is behind")
    gate.run(gate.recovery.upkeep.checkpoint)
    gate.run(gate.recovery.upkeep.close_cleanly)
    assert gate.coordinator.asked == asked


def test_one_that_is_superseded_at_the_start_says_so(tmp_path: Path) -> None:
    coordinator = RivalCoordinator()
    coordinator.taken(1000)
    with pytest.raises(Superseded):
        MemoryGate(tmp_path, 1, coordinator)


def test_while_nobody_can_be_asked_nothing_is_answered(gate: MemoryGate) -> None:
    gate.coordinator.broken = True
    asked = needs_an_epoch(gate)
    wait_until(lambda: gate.mirror.reflexes.unremembered)
    upkeep(gate)
    assert not asked.answered.is_set()
    assert "nobody answers" in gate.mirror.hold.reason
    gate.coordinator.broken = False
    upkeep(gate)
    asked.result()
    assert not gate.mirror.hold.storage_lost
    assert gate.coordinator.remembered is not None
    assert gate.coordinator.remembered[0] == gate.mirror.roster.configuration.epoch


def test_nor_is_a_flush(gate: MemoryGate) -> None:
    gate.coordinator.broken = True
    gate.medium(1).broken = True
    asked = gate.kernel.ask(FLUSH)
    wait_until(lambda: gate.mirror.reflexes.unremembered)
    assert not asked.answered.is_set()
    gate.coordinator.broken = False
    upkeep(gate)
    asked.result()


def test_what_was_asked_for_in_vain_is_nobody_elses(gate: MemoryGate) -> None:
    """The attempt arrived, nobody was told; the next worker asks for another epoch."""
    gate.coordinator.broken = True
    asked = needs_an_epoch(gate)
    wait_until(lambda: gate.mirror.reflexes.unremembered)
    gate.kill_worker()
    assert not asked.answered.is_set()
    gate.coordinator.broken = False
    upkeep(gate)
    asked.result()
    assert not gate.mirror.roster.superseded
    assert gate.states() == {1: "failed", 2: "in-sync"}


def test_somebody_else_may_have_raised_it_to_the_same_number(gate: MemoryGate) -> None:
    gate.coordinator.broken = True
    asked = needs_an_epoch(gate)
    wait_until(lambda: gate.mirror.reflexes.unremembered)
    gate.coordinator.taken(gate.mirror.roster.configuration.epoch)
    gate.coordinator.broken = False
    upkeep(gate)
    assert gate.mirror.roster.superseded
    is_refused(gate, asked)


def test_while_it_hangs_nothing_is_answered(gate: MemoryGate) -> None:
    asked = hangs(gate)
    asked_before = gate.coordinator.asked
    upkeep(gate)
    assert not asked.answered.is_set()
    assert gate.coordinator.asked == asked_before, "one attempt at a time"
    gate.coordinator.answers.set()
    wait_until(lambda: has_no_given_up(gate))
    upkeep(gate)
    asked.result()


def test_a_refusal_counts_for_one_that_was_given_up(gate: MemoryGate) -> None:
    asked = hangs(gate)
    gate.coordinator.taken(1000)
    gate.coordinator.answers.set()
    wait_until(lambda: bool(gate.mirror.roster.superseded))
    assert not gate.mirror.roster.readers
    is_refused(gate, asked)


def hangs(gate: MemoryGate) -> Asked:
    """A write whose thread was given up while it asked; the next one waits with it."""
    gate.coordinator.answers.clear()
    asked = needs_an_epoch(gate)
    assert gate.coordinator.hanging.acquire(timeout=20)
    gate.give_up_hanging(STATE)
    wait_until(lambda: gate.mirror.reflexes.unremembered)
    return asked


def has_no_given_up(gate: MemoryGate) -> bool:
    """Whether every thread that hung has ended."""
    return not any(hand.given_up for hand in gate.mirror.hands.all())


def test_nor_is_a_read_of_what_another_leg_may_have_otherwise(gate: MemoryGate) -> None:
    """After a crash; that leg cannot be made equal, and the other one could go before all agree."""
    gate.mirror.equalising.begin({0})
    gate.coordinator.broken = True
    gate.medium(2).broken = True
    asked = gate.kernel.read(0, BLOCK)
    wait_until(lambda: gate.mirror.reflexes.unremembered or asked.answered.is_set())
    assert not asked.answered.is_set()
    gate.coordinator.broken = False
    upkeep(gate)
    assert asked.result() == b"g" * BLOCK
