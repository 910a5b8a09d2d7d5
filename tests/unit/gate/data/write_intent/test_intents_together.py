"""First writes into several regions at once: their bits become durable together."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from holdfast.gate.data.task import LegTask
from holdfast.gate.data.write_intent.bitmap import REGION_SHIFT
from holdfast.gate.members.superblock import REGION_BYTES
from holdfast.gate.runtime.claims import Hand
from tests.plugs.gate import BLOCK, MemoryGate, written_gate
from tests.plugs.memory_container import Medium
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("memory_kind")

WRITERS = 3
REGIONS = range(1, WRITERS + 1)
"""The first one has its bit since the gate was written to."""


class WatchedLock:
    """A lock of which one knows how many have asked for it."""

    def __init__(self) -> None:
        self.asked = 0
        self._lock = threading.Lock()

    def acquire(self) -> None:
        self.asked += 1
        self._lock.acquire()

    def release(self) -> None:
        self._lock.release()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[MemoryGate]:
    with written_gate(tmp_path, 2) as gate:
        yield gate


def begin_writes(gate: MemoryGate, first: Medium) -> list[LegTask[None]]:
    """One into each region; one of them is in the storage, and the others wait for it."""
    lock = WatchedLock()
    gate.mirror.intent.lock = cast(threading.Lock, lock)
    first.answers.clear()

    def write(region: int) -> LegTask[None]:
        view = memoryview(bytes([region]) * BLOCK)
        mirror = gate.mirror
        return LegTask(mirror.hands, lambda hand: mirror.write(hand, view, region * REGION_BYTES))

    writers = [write(region) for region in REGIONS]
    wait_until(lambda: lock.asked == WRITERS)
    assert first.hanging.acquire(timeout=20)
    return writers


def check(gate: MemoryGate, number: int) -> None:
    """Every region has its bit, and what was written."""
    assert set(REGIONS) <= set(gate.mirror.intent.bitmap.dirty())
    content = gate.medium(number).content
    assert [content[region << REGION_SHIFT] for region in REGIONS] == list(REGIONS)


def test_who_waited_does_not_flush_again(gate: MemoryGate) -> None:
    medium = gate.medium(1)
    before = medium.flushes
    writers = begin_writes(gate, medium)
    medium.answers.set()
    for writer in writers:
        writer.result(20)
    check(gate, 1)
    # The first one's own, and one for all who came while it was under way.
    assert medium.flushes - before == 2


def test_who_waited_goes_on_when_the_first_is_given_up(gate: MemoryGate) -> None:
    writers = begin_writes(gate, gate.medium(1))
    gate.give_up_hanging(1)
    given_up = [writer for writer in writers if writer.hand.given_up]
    assert len(given_up) == 1
    for writer in writers:
        if writer is not given_up[0]:
            writer.result(20)
    region = writers.index(given_up[0]) + 1
    gate.kernel.write(region * REGION_BYTES, bytes([region]) * BLOCK).result()
    check(gate, 2)


def test_one_that_was_marked_for_another_is_marked_again_once_it_was_cleared(
    gate: MemoryGate,
) -> None:
    intent, hands = gate.mirror.intent, gate.mirror.hands

    def intend_twice(hand: Hand) -> None:
        intent.bitmap.covers(REGION_BYTES, BLOCK)
        intent.intend(hand, REGION_BYTES, BLOCK)
        for _ in range(3):  # nobody has that range
            intent.clear_idle(hand, gate.mirror.ranges, ())
        assert not intent.bitmap.is_durable(REGION_BYTES, BLOCK)
        intent.intend(hand, REGION_BYTES, BLOCK)
        assert intent.bitmap.is_durable(REGION_BYTES, BLOCK)

    LegTask(hands, intend_twice).result(20)
