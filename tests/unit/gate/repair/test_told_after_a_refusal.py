"""What an administrator or a reader is told, and what is erased, when a coordinator has not agreed.

Legs of a volume that somebody else has are not erased; nothing is acknowledged that may not last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.errors import StorageFailed, Superseded
from holdfast.gate.front.front_end import READ
from holdfast.gate.repair.changes import Changes
from holdfast.gate.runtime.claims import Hand
from tests.plugs.gate import BLOCK, SIZE, MemoryGate, written_gate
from tests.plugs.memory_container import MEDIA, Medium
from tests.waiting import wait_until

TAIL_BYTES = 32 << 10


pytestmark = pytest.mark.usefixtures("memory_kind")


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[MemoryGate]:
    with written_gate(tmp_path, 2) as gate:
        yield gate


def tail(gate: MemoryGate, number: int) -> bytes:
    return bytes(gate.medium(number).content[-TAIL_BYTES:])


def change(gate: MemoryGate, what: str) -> Callable[[Hand], object]:
    """A change of that kind, with a container that is there and empty where it needs one."""
    changes = Changes(gate.mirror, gate.recovery)
    url = f"memory:/{gate.state_directory.name}/3"
    if what == "spare":
        MEDIA[url.partition(":")[2]] = Medium(len(gate.medium(1).content))
        return lambda hand: changes.add_spare(hand, url)
    if what == "replace":
        return lambda hand: changes.replace(hand, "2", url)
    if what == "add":
        return lambda hand: changes.add(hand, url)
    if what == "resize":
        return lambda hand: changes.resize(hand, 2 * SIZE)
    return lambda hand: changes.remove(hand, "1")


CHANGES = pytest.mark.parametrize("what", ["spare", "add", "resize", "remove"])


@CHANGES
def test_no_change_is_acknowledged_after_a_refusal(gate: MemoryGate, what: str) -> None:
    gate.coordinator.taken(1000)
    with pytest.raises(Superseded, match="another host"):
        gate.run(change(gate, what))
    assert any(tail(gate, 1)), "the superblocks of the new owner"


@CHANGES
def test_nor_before_an_agreement(gate: MemoryGate, what: str) -> None:
    gate.coordinator.broken = True
    with pytest.raises(StorageFailed, match="nobody answers"):
        gate.run(change(gate, what))
    assert any(tail(gate, 1))
    gate.coordinator.broken = False
    gate.run(gate.mirror.settling.settle_or_raise)


def test_a_leg_that_joined_before_an_agreement_comes_back(gate: MemoryGate) -> None:
    gate.coordinator.broken = True
    with pytest.raises(StorageFailed):
        gate.run(change(gate, "add"))
    assert gate.states()[3] == "failed"
    gate.coordinator.broken = False
    for leg in gate.mirror.roster.retired.take():
        leg.close()
    entry = gate.mirror.roster.entry(3)
    gate.run(lambda hand: gate.recovery.bring_back(hand, entry))
    wait_until(lambda: gate.states()[3] == "in-sync")


def test_a_read_that_hung_meanwhile_is_not_answered(gate: MemoryGate) -> None:
    gate.medium(1).answers.clear()
    asked = gate.kernel.ask(READ, 0, BLOCK)
    assert gate.medium(1).hanging.acquire(timeout=20)
    gate.coordinator.taken(1000)
    memory, roster = gate.mirror.memory, gate.mirror.roster
    gate.run(lambda hand: memory.remember(hand, roster.configuration, roster.withdraw))
    gate.mirror.hold.set_timeout(0.0)
    gate.medium(1).answers.set()
    assert asked.answered.wait(20)
    assert asked.refused, "data of the time before another host had it"


def test_a_spare_that_replaces_a_leg_is_none_any_more_and_stays_one_where_it_cannot(
    gate: MemoryGate,
) -> None:
    gate.run(change(gate, "spare"))
    spare = MEDIA[f"/{gate.state_directory.name}/3"]
    spare.broken = True
    with pytest.raises(StorageFailed):
        gate.run(change(gate, "replace"))
    configuration = gate.mirror.roster.configuration
    assert [len(configuration.legs), len(configuration.spare_urls)] == [2, 1]
    spare.broken = False
    gate.run(change(gate, "replace"))
    configuration = gate.mirror.roster.configuration
    assert configuration.spare_urls == ()
    assert configuration.legs[-1].replaces == 2
