"""What an administrator was told is durable, although legs, the coordinator or a thread give way
just then: it outlives the last leg, and the worker. What is not durable was refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.errors import DeadlinePassed, HoldfastError, LastLeg, StorageFailed
from holdfast.gate.data.task import LegTask
from holdfast.gate.members.epoch_memory import STATE
from holdfast.gate.runtime import shared_page
from holdfast.gate.runtime.claims import Hand
from tests.plugs.gate import BLOCK, MemoryGate, written_gate
from tests.plugs.memory_container import MEDIA, Medium
from tests.waiting import wait_until

Change = Callable[[Hand], object]

pytestmark = pytest.mark.usefixtures("memory_kind")


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[MemoryGate]:
    with written_gate(tmp_path, 1) as gate:
        yield gate


def url_of(gate: MemoryGate, number: int) -> str:
    return f"memory:/{gate.state_directory.name}/{number}"


def add_spare(gate: MemoryGate) -> None:
    path = url_of(gate, 9).partition(":")[2]
    MEDIA[path] = Medium(len(gate.medium(1).content))
    gate.run(lambda hand: gate.verbs().add_leg(hand, url_of(gate, 9), spare=True))


def change(gate: MemoryGate, what: str) -> Change:
    """A change of that kind."""
    if what == "configure":
        return lambda hand: gate.verbs().configure(hand, {"name": "new"}, 7.0)
    if what == "remove spare":
        return lambda hand: gate.verbs().remove_leg(hand, url_of(gate, 9))
    path = url_of(gate, 8).partition(":")[2]
    MEDIA.setdefault(path, Medium(len(gate.medium(1).content)))
    return lambda hand: gate.verbs().add_leg(hand, url_of(gate, 8), spare=True)


def is_made(gate: MemoryGate, what: str) -> bool:
    """Whether the gate goes on with that change."""
    configuration = gate.mirror.roster.configuration
    if what == "configure":
        return configuration.descriptor == {"name": "new"}
    if what == "remove spare":
        return url_of(gate, 9) not in configuration.spare_urls
    return url_of(gate, 8) in configuration.spare_urls


CHANGES = pytest.mark.parametrize("what", ["configure", "remove spare", "add spare"])


def lose_last_leg(gate: MemoryGate) -> None:
    gate.medium(1).broken = True
    gate.kernel.read(0, BLOCK)
    wait_until(lambda: gate.mirror.hold.storage_lost)


def return_last_leg(gate: MemoryGate) -> None:
    gate.medium(1).broken = False
    gate.bring_back(1)


@CHANGES
def test_one_that_the_last_leg_cannot_be_told_is_taken_back(gate: MemoryGate, what: str) -> None:
    add_spare(gate)
    timeout = gate.mirror.roster.configuration.hold_timeout_seconds
    gate.medium(1).broken = True
    with pytest.raises(StorageFailed, match="as it was before"):
        gate.run(change(gate, what))
    assert not is_made(gate, what)
    assert gate.cells[shared_page.HOLD_TIMEOUT] in (0, int(timeout * 1e9))
    return_last_leg(gate)
    assert not is_made(gate, what)


@CHANGES
def test_none_is_made_while_no_leg_is_there(gate: MemoryGate, what: str) -> None:
    add_spare(gate)
    lose_last_leg(gate)
    with pytest.raises(StorageFailed, match="no leg is there"):
        gate.run(change(gate, what))
    assert not is_made(gate, what)


@CHANGES
def test_one_that_is_agreed_to_outlives_the_last_leg(gate: MemoryGate, what: str) -> None:
    """Which goes while the coordinator is asked."""
    add_spare(gate)
    gate.coordinator.answers.clear()
    task = LegTask(gate.mirror.hands, change(gate, what))
    assert gate.coordinator.hanging.acquire(timeout=20)
    lose_last_leg(gate)
    gate.coordinator.answers.set()
    task.result(20.0)
    assert is_made(gate, what)
    return_last_leg(gate)
    assert is_made(gate, what)
    gate.kill_worker()
    assert is_made(gate, what)


@CHANGES
def test_one_that_was_refused_is_never_acknowledged(gate: MemoryGate, what: str) -> None:
    add_spare(gate)
    gate.coordinator.taken(1000)
    for _ in range(2):
        with pytest.raises(HoldfastError):
            gate.run(change(gate, what))
    assert gate.mirror.roster.superseded
    gate.kill_worker()
    assert not gate.mirror.roster.present


@CHANGES
def test_one_that_nobody_has_agreed_to_yet_is_asked_for_again(gate: MemoryGate, what: str) -> None:
    add_spare(gate)
    gate.coordinator.broken = True
    with pytest.raises(StorageFailed, match="nobody answers"):
        gate.run(change(gate, what))
    gate.coordinator.broken = False
    gate.run(gate.recovery.upkeep.checkpoint)
    assert not gate.mirror.roster.unsettled
    assert is_made(gate, what)
    gate.kill_worker()
    assert is_made(gate, what)


def test_the_last_leg_in_sync_never_leaves(tmp_path: Path) -> None:
    """The other one failed after it was looked at, and nobody has settled yet."""
    gate = MemoryGate(tmp_path, 2)
    roster = gate.mirror.roster
    roster.fail(roster.present[2], "just now")
    with pytest.raises(LastLeg):
        roster.remove(1)
    assert 1 in roster.present
    gate.close()


def test_a_leg_is_let_go_of_whose_removal_is_given_up(tmp_path: Path) -> None:
    """The state directory hangs: the thread never comes back."""
    gate = MemoryGate(tmp_path, 2)
    gate.coordinator.answers.clear()
    removal = LegTask(gate.mirror.hands, lambda hand: gate.verbs().remove_leg(hand, "1"))
    assert gate.coordinator.hanging.acquire(timeout=20)
    gate.give_up_hanging(STATE)
    gate.coordinator.answers.set()
    with pytest.raises(DeadlinePassed):
        removal.result(20.0)
    assert [leg.number for leg in gate.mirror.roster.retired.take()] == [1]
    gate.run(gate.mirror.settling.settle_or_raise)
    assert gate.states() == {2: "in-sync"}
    gate.front.close()
    wait_until(gate.server.stopped.is_set)
