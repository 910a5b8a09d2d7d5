"""A resynchronisation that failed midway: the next one of the same leg begins at its own beginning.

How far a copy is belongs to one attempt; a worker that takes over goes on with that attempt or from
the start, never with the place of an earlier one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from holdfast.containers.back_end import DescriptorBackEnd
from holdfast.gate.members.superblock import Superblock, read_superblock
from holdfast.gate.repair.resync import Resync
from holdfast.gate.runtime.claims import Hand
from holdfast.model.volume import JournalMode, LegState
from tests.unit.gate.blocks import on_leg, states, write
from tests.unit.gate.gate_in_process import InProcessGate, KilledError, Request
from tests.waiting import wait_until

REGION = 1 << 20
REGIONS = 8


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[InProcessGate]:
    gate = InProcessGate(tmp_path, REGIONS * REGION, 1, JournalMode.NONE)
    gate.start()
    for region in range(REGIONS):
        write(gate, b"1", region * REGION)
    yield gate
    gate.die()


def add_and_fail(gate: InProcessGate, at_call: int) -> None:
    """Leg 2 joins, and fails at one of the calls to it."""
    gate.storages.error_after[2] = at_call
    gate.run(lambda hand: gate.changes.add(hand, f"file:{gate.image(2)}"))
    gate.finish_resyncs()
    assert states(gate)[2] == "failed"


def assert_filled(gate: InProcessGate) -> None:
    """Leg 2 gets everything, and what was written last to region 1 is there."""
    if 2 not in gate.mirror.roster.present:
        gate.bring_back(gate.mirror.roster.entry(2))
    gate.finish_resyncs()
    assert states(gate) == {1: "in-sync", 2: "in-sync"}
    assert [on_leg(gate, 2, region * REGION) for region in range(REGIONS)] == [
        b"1",
        b"2",
        *[b"1"] * (REGIONS - 2),
    ]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("calls", range(1, 9))
def test_the_worker_dies_before_the_first_region(gate: InProcessGate, calls: int) -> None:
    """However many calls to legs the second attempt still makes."""
    add_and_fail(gate, at_call=6)
    write(gate, b"2", 1 * REGION, flush=True)
    gate.storages.calls_to_live = calls
    entry = gate.mirror.roster.entry(2)
    with pytest.raises(KilledError):
        gate.bring_back(entry)
        gate.finish_resyncs()
    gate.die()
    gate.storages.calls_to_live = None
    gate.take_over()
    assert_filled(gate)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("calls", range(1, 16))
def test_a_leg_that_joins_is_told_last(tmp_path: Path, calls: int) -> None:
    """Wherever the worker dies: the leg that went on alone never keeps the word that it is alone,
    when the other has the word that it may go on."""
    gate = InProcessGate(tmp_path, REGIONS * REGION, 2, JournalMode.NONE)
    gate.start()
    gate.storages.error_after[1] = 0
    write(gate, b"1", 0, flush=True)
    assert states(gate) == {1: "failed", 2: "in-sync"}
    gate.tend()
    gate.storages.calls_to_live = calls
    with suppress(KilledError):
        gate.bring_back(gate.mirror.roster.entry(1))
        gate.finish_resyncs()
    gate.die()
    gate.storages.calls_to_live = None
    joined, alone = (superblock_of(gate, number) for number in (1, 2))
    if joined.state is LegState.IN_SYNC and joined.epoch > 1:
        assert alone.epoch >= joined.epoch


def superblock_of(gate: InProcessGate, number: int) -> Superblock:
    """As it lies on the image."""
    image = gate.image(number)
    device = DescriptorBackEnd(os.open(image, os.O_RDONLY))
    try:
        found = read_superblock(device, image.stat().st_size)
    finally:
        device.close()
    assert found is not None
    return found


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_of_the_first_attempt_says_nothing_of_the_second(
    gate: InProcessGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was inside the leg when that failed, and comes out after the leg has joined again."""
    inside, go_on = threading.Event(), threading.Event()
    copy = Resync._copy

    def late(self: Resync, hand: Hand, region: int, buffer: memoryview) -> int:
        copied = copy(self, hand, region, buffer)
        if region == 5:
            inside.set()
            go_on.wait(20)
        return copied

    monkeypatch.setattr(Resync, "_copy", late)
    gate.run(lambda hand: gate.changes.add(hand, f"file:{gate.image(2)}"))
    assert inside.wait(20)
    first = gate.recovery.resyncs[2]
    gate.mirror.roster.fail(first.leg, "its cable was moved")
    gate.tend()
    for leg in gate.opened:
        if leg.number == 2:
            leg.close()
    write(gate, b"2", 1 * REGION, flush=True)
    stay = threading.Event()

    def wait(self: Resync, hand: Hand) -> None:
        stay.wait(20)
        raise KilledError

    monkeypatch.setattr(Resync, "_copy_all", wait)
    gate.bring_back(gate.mirror.roster.entry(2))
    go_on.set()
    first.join(20)
    monkeypatch.undo()
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)
    stay.set()
    gate.die()
    gate.take_over()
    gate.finish_resyncs()
    assert on_leg(gate, 2, 1 * REGION) == b"2"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_present_attempt_is_continued(gate: InProcessGate) -> None:
    gate.storages.calls_to_live = 14
    with pytest.raises(KilledError):
        gate.run(lambda hand: gate.changes.add(hand, f"file:{gate.image(2)}"))
        gate.finish_resyncs()
    gate.die()
    gate.storages.calls_to_live = None
    gate.take_over()
    assert 0 < len(gate.recovery.resyncs[2].regions) < REGIONS
    gate.finish_resyncs()
    assert states(gate) == {1: "in-sync", 2: "in-sync"}
    for region in range(REGIONS):
        assert on_leg(gate, 2, region * REGION) == b"1"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_between_that_has_not_joined_the_leg(
    gate: InProcessGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It writes what had been copied before: whoever comes after it must not go on there."""
    inside, copy = threading.Event(), Resync._copy

    def stops(self: Resync, hand: Hand, region: int, buffer: memoryview) -> int:
        if region == 5:
            inside.set()
            self.stopping.wait(20)
            raise KilledError
        return copy(self, hand, region, buffer)

    monkeypatch.setattr(Resync, "_copy", stops)
    gate.run(lambda hand: gate.changes.add(hand, f"file:{gate.image(2)}"))
    assert inside.wait(20)
    gate.storages.error_after[1] = 0  # its only source is lost
    Request(gate, gate.mirror.flush)
    wait_until(lambda: gate.mirror.hold.storage_lost)
    gate.die()
    monkeypatch.undo()
    gate.storages.error_after.clear()
    gate.take_over()
    assert not gate.mirror.roster.readers
    gate.bring_back(gate.mirror.roster.entry(1))
    assert 2 not in gate.mirror.roster.present
    write(gate, b"2", 1 * REGION)
    gate.die()
    gate.take_over()
    assert_filled(gate)
