"""The gate on plugs of the tests' own: no kernel below it, no storage on a disk, no root."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.containers import open_container
from holdfast.errors import DeadlinePassed
from holdfast.gate.data.task import LegTask
from holdfast.gate.front.front_end import FLUSH, ZERO
from holdfast.gate.processes.watchdog import Watchdog
from holdfast.gate.runtime.claims import Hand
from tests.plugs.gate import PATIENCE_SECONDS, SIZE, MemoryGate
from tests.waiting import wait_until

BLOCK = 4096


pytestmark = pytest.mark.usefixtures("memory_kind")


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[MemoryGate]:
    gate = MemoryGate(tmp_path, 3)
    yield gate
    gate.close()


def test_what_is_written_is_on_every_leg_and_read_back(gate: MemoryGate) -> None:
    gate.kernel.write(BLOCK, b"a" * BLOCK).result()
    gate.kernel.ask(FLUSH).result()
    assert gate.kernel.read(BLOCK, BLOCK).result() == b"a" * BLOCK
    for number in (1, 2, 3):
        assert gate.medium(number).content[BLOCK : 2 * BLOCK] == b"a" * BLOCK
    gate.kernel.ask(ZERO, BLOCK, BLOCK).result()
    assert gate.kernel.read(BLOCK, BLOCK).result() == bytes(BLOCK)


def test_a_leg_that_fails_is_left_out_without_an_error(gate: MemoryGate) -> None:
    gate.medium(1).broken = True
    gate.kernel.write(0, b"b" * BLOCK).result()
    assert gate.states() == {1: "failed", 2: "in-sync", 3: "in-sync"}
    assert gate.kernel.read(0, BLOCK).result() == b"b" * BLOCK


def test_with_no_leg_left_a_request_waits_until_one_is_back(tmp_path: Path) -> None:
    gate = MemoryGate(tmp_path, 1)
    gate.kernel.write(0, b"c" * BLOCK).result()
    gate.medium(1).broken = True
    asked = gate.kernel.read(0, BLOCK)
    wait_until(lambda: gate.mirror.hold.storage_lost)
    assert not asked.answered.is_set()
    gate.medium(1).broken = False
    gate.bring_back(1)
    assert asked.result() == b"c" * BLOCK
    gate.close()


def test_a_hold_past_its_deadline_is_an_error(gate: MemoryGate) -> None:
    gate.mirror.hold.set_timeout(0.0)
    for number in (1, 2, 3):
        gate.medium(number).broken = True
    asked = gate.kernel.read(0, BLOCK)
    assert asked.answered.wait(20)
    assert asked.refused
    for number in (1, 2, 3):
        gate.medium(number).broken = False


def test_who_is_given_up_twice_has_its_data_written_by_the_third(gate: MemoryGate) -> None:
    """Neither of the successors has the bytes in a buffer of its own."""
    for number in (1, 2):
        gate.medium(number).answers.clear()
    asked = gate.kernel.write(0, b"d" * BLOCK)
    for number in (1, 2):
        assert gate.medium(number).hanging.acquire(timeout=20)
        gate.give_up_hanging(number)
    asked.result()
    assert gate.states() == {1: "failed", 2: "failed", 3: "in-sync"}
    assert gate.medium(3).content[:BLOCK] == b"d" * BLOCK
    assert gate.kernel.read(0, BLOCK).result() == b"d" * BLOCK


def test_what_a_killed_worker_did_not_answer_is_done_by_the_next(gate: MemoryGate) -> None:
    gate.kernel.write(0, b"e" * BLOCK).result()
    gate.medium(2).answers.clear()
    asked = gate.kernel.write(0, b"f" * BLOCK)
    assert gate.medium(2).hanging.acquire(timeout=20)
    gate.front.dead = True
    gate.medium(2).answers.set()
    gate.kill_worker()
    asked.result()
    assert gate.kernel.read(0, BLOCK).result() == b"f" * BLOCK
    assert gate.medium(1).content[:BLOCK] == gate.medium(2).content[:BLOCK] == b"f" * BLOCK


@pytest.mark.parametrize("hang_timeout_seconds", [0.05, 0.1])
def test_a_task_of_the_start_that_hangs_is_given_up(
    tmp_path: Path, hang_timeout_seconds: float
) -> None:
    """Whoever waits for it is the observer, and must not be late himself each time."""
    gate = MemoryGate(tmp_path, 2, hang_timeout_seconds=hang_timeout_seconds)
    gate.medium(1).answers.clear()

    def flush(hand: Hand) -> None:
        with hand.inside(1):
            gate.mirror.roster.present[1].flush()

    task = LegTask(gate.mirror.hands, flush)
    watchdog = Watchdog(gate.mirror, hang_timeout_seconds, lambda hand: None)
    outcome: list[BaseException] = []

    def attend() -> None:
        try:
            task.result_while_looking(gate.mirror.watching, watchdog.look)
        except DeadlinePassed as error:
            outcome.append(error)

    attending = threading.Thread(target=attend, daemon=True)
    attending.start()
    attending.join(PATIENCE_SECONDS)
    gate.medium(1).answers.set()
    assert outcome
    assert gate.states() == {1: "failed", 2: "in-sync"}
    gate.close()


def test_a_registered_kind_is_known_by_its_urls() -> None:
    container = open_container("memory:/x")
    assert container.create(SIZE)
    device = container.open()
    with pytest.raises(BlockingIOError):
        container.open()
    device.close()
