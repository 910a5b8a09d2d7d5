"""Storage answers in the moment in which the thread inside it is given up: that thread ends before
what it had in hand was taken over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import monotonic_ns

import pytest

from holdfast.gate.runtime.claims import Hand
from holdfast.gate.runtime.shared_page import LOGGED
from tests.plugs.gate import MemoryGate
from tests.plugs.memory_front import Asked
from tests.waiting import wait_until

BLOCK = 4096
ELSEWHERE = 1 << 20


@pytest.fixture
def gate(tmp_path: Path, memory_kind: None) -> Iterator[MemoryGate]:
    gate = MemoryGate(tmp_path, 2)
    yield gate
    gate.close()


def ended_early(gate: MemoryGate, asked: Asked) -> Hand:
    """The hand that had the request, given up in leg 1; its thread has ended."""
    assert gate.medium(1).hanging.acquire(timeout=20)
    assert not asked.answered.is_set()
    (hand,) = (each for each in gate.mirror.hands.all() if each.give_up(monotonic_ns(), inside=1))
    gate.medium(1).answers.set()
    wait_until(lambda: hand not in gate.mirror.hands.all())
    return hand


def taken_over(gate: MemoryGate, hand: Hand) -> None:
    """What the watchdog does next."""
    gate.mirror.give_up(hand, 1, 0.0)
    gate.server.replace(hand)


def test_a_write_is_carried_out(gate: MemoryGate) -> None:
    gate.medium(1).answers.clear()
    asked = gate.kernel.write(0, b"2" * BLOCK)
    taken_over(gate, ended_early(gate, asked))
    asked.result()
    assert gate.states() == {1: "failed", 2: "in-sync"}
    assert gate.kernel.read(0, BLOCK).result() == b"2" * BLOCK


def test_a_read_is_and_as_many_threads_serve_as_before(gate: MemoryGate) -> None:
    before = len(gate.server.threads)
    gate.medium(1).answers.clear()
    asked = gate.kernel.read(0, BLOCK)
    taken_over(gate, ended_early(gate, asked))
    assert asked.result() == bytes(BLOCK)
    assert len(gate.server.threads) == before


def test_whoever_has_its_slot_now_keeps_what_is_its_own(gate: MemoryGate) -> None:
    """Its turn among overlapping writes."""
    mirror = gate.mirror
    gate.medium(1).answers.clear()
    asked = gate.kernel.write(0, b"2" * BLOCK)
    hand = ended_early(gate, asked)
    other = mirror.hands.take()
    assert other.slot == hand.slot
    mirror.ranges.enter(other, ELSEWHERE, BLOCK)
    taken_over(gate, hand)
    assert mirror.ranges.touches(ELSEWHERE, BLOCK)
    asked.result()
    mirror.ranges.leave(other)
    mirror.hands.put_back(other)


def test_another_one_has_its_slot_already(gate: MemoryGate) -> None:
    """The leg was not failed, and the write of who has the slot now was taken out of the log."""
    gate.medium(1).answers.clear()
    asked = gate.kernel.write(0, b"2" * BLOCK)
    hand = ended_early(gate, asked)
    another = gate.mirror.hands.take()
    assert another.slot == hand.slot
    another.cells[LOGGED] = 1 + BLOCK
    taken_over(gate, hand)
    asked.result()
    assert gate.states() == {1: "failed", 2: "in-sync"}
    assert another.cells[LOGGED] == 1 + BLOCK
    gate.mirror.hands.put_back(another)
