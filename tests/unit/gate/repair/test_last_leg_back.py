"""The last leg is back: the hold ends, whatever hangs or goes again just then, and for no other
reason; and the next worker finds the leg where it is now."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.gate.data.task import LegTask
from holdfast.gate.members.epoch_memory import STATE
from holdfast.gate.repair.changes import Changes
from tests.plugs.gate import BLOCK, MemoryGate, written_gate
from tests.plugs.memory_container import MEDIA
from tests.plugs.memory_front import Asked
from tests.plugs.rival import RivalCoordinator
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("memory_kind")


class StateDirectory(RivalCoordinator):
    """That of one host: nobody waits for it."""

    arbitrates = False


@pytest.fixture(params=[RivalCoordinator, StateDirectory])
def gate(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[MemoryGate]:
    with written_gate(tmp_path, 2, request.param()) as gate:
        yield gate


def lose_all(gate: MemoryGate) -> Asked:
    """Leg 1 first; a write that waits for leg 2, the last one."""
    gate.medium(1).broken = True
    gate.kernel.write(0, b"h" * BLOCK).result()
    gate.medium(2).broken = True
    asked = gate.kernel.write(0, b"i" * BLOCK)
    wait_until(lambda: gate.mirror.hold.storage_lost)
    gate.medium(1).broken = gate.medium(2).broken = False
    return asked


def lose_undecided(gate: MemoryGate) -> Asked:
    """Both at once: nobody was told that one of them went on alone, either may come back."""
    gate.medium(1).broken = gate.medium(2).broken = True
    asked = gate.kernel.write(0, b"i" * BLOCK)
    wait_until(lambda: gate.mirror.hold.storage_lost)
    gate.medium(1).broken = gate.medium(2).broken = False
    return asked


def test_what_waits_goes_on_although_the_state_directory_hangs(gate: MemoryGate) -> None:
    asked = lose_undecided(gate)
    for leg in gate.mirror.roster.retired.take():
        leg.close()
    gate.coordinator.answers.clear()
    entry = gate.mirror.roster.entry(2)
    LegTask(gate.mirror.hands, lambda hand: gate.recovery.bring_back(hand, entry), awaited=False)
    assert gate.coordinator.hanging.acquire(timeout=20)
    gate.give_up_hanging(STATE)
    if gate.coordinator.arbitrates:
        wait_until(lambda: gate.mirror.reflexes.unremembered)
        gate.coordinator.answers.set()
        wait_until(lambda: not any(hand.given_up for hand in gate.mirror.hands.all()))
        gate.run(gate.recovery.upkeep.checkpoint)
    asked.result()
    assert not gate.mirror.hold.storage_lost


def test_a_hold_does_not_end_for_a_leg_that_is_lost_again(gate: MemoryGate) -> None:
    asked = lose_all(gate)
    gate.mirror.reflexes.storage_back("leg 2 is back")
    assert gate.mirror.hold.storage_lost
    assert not asked.answered.is_set()


def test_whoever_writes_to_it_needs_an_epoch_without_the_others(gate: MemoryGate) -> None:
    """From the moment in which it is used: nothing is answered that they may deny."""
    lose_undecided(gate)
    roster = gate.mirror.roster
    (leg,) = (each for each in roster.retired.take() if each.number == 2)
    leg.taken = False
    roster.resume_with(leg)
    assert roster.unsettled
    assert gate.states() == {1: "failed", 2: "in-sync"}


def test_the_next_worker_finds_a_copy_where_it_is(tmp_path: Path) -> None:
    gate = MemoryGate(tmp_path, 1, StateDirectory())
    gate.kernel.write(0, b"g" * BLOCK).result()
    gate.medium(1).broken = True
    asked = gate.kernel.write(0, b"h" * BLOCK)
    wait_until(lambda: gate.mirror.hold.storage_lost)
    url = f"memory:/{tmp_path.name}/copy"
    MEDIA[url.partition(":")[2]] = MEDIA.pop(f"/{tmp_path.name}/1")
    MEDIA[url.partition(":")[2]].broken = False
    for leg in gate.mirror.roster.retired.take():
        leg.close()
    changes = Changes(gate.mirror, gate.recovery)
    gate.run(lambda hand: changes.add(hand, url))
    asked.result()
    gate.kill_worker()
    assert gate.mirror.roster.entry(1).url == url
    assert gate.kernel.read(0, BLOCK).result() == b"h" * BLOCK
    gate.front.close()
    wait_until(gate.server.stopped.is_set)
