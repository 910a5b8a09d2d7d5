"""Holds for room, and long zeroing: what is slow or full is not lost."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holdfast.containers.back_end import ZERO_STEP_BYTES
from holdfast.gate.data.hold import HoldExpired
from holdfast.gate.data.task import LegTask
from holdfast.gate.members.leg import Leg
from holdfast.model.volume import JournalMode
from tests.unit.gate.blocks import block_of, read, states, write
from tests.unit.gate.gate_in_process import InProcessGate

SIZE = 4 << 20


@pytest.fixture
def gate(tmp_path: Path) -> Any:
    gate = InProcessGate(tmp_path, SIZE, 1, JournalMode.NONE)
    gate.start()
    yield gate
    gate.die()


class Full:
    """A back end with no room for data, as long as that is so; its tail has all it needs."""

    def __init__(self, back_end: Any) -> None:
        self._back_end = back_end
        self.full = True

    def write(self, view: memoryview, offset: int) -> None:
        if self.full and offset < SIZE:
            raise OSError(errno.ENOSPC, "no space")
        self._back_end.write(view, offset)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._back_end, name)


def fill(gate: InProcessGate) -> Any:
    full = Full(gate.mirror.roster.readers[0].back_end)
    gate.mirror.roster.filter(1, lambda back_end: full)
    return full


def test_a_hold_for_room_that_expired_ends_with_the_next_write(gate: InProcessGate) -> None:
    leg = fill(gate)
    gate.mirror.hold.set_timeout(0.1)
    with pytest.raises(HoldExpired):
        write(gate, b"1", 0)
    assert gate.mirror.hold.for_room
    with pytest.raises(HoldExpired):
        write(gate, b"1", 4096)
    leg.full = False
    write(gate, b"2", 0)
    assert not gate.mirror.hold.storage_lost


def test_the_loss_of_a_full_leg_is_held_for_the_whole_time(gate: InProcessGate) -> None:
    fill(gate)
    gate.mirror.hold.set_timeout(0.1)
    with pytest.raises(HoldExpired):
        write(gate, b"1", 0)
    gate.mirror.hold.set_timeout(60.0)
    gate.mirror.roster.fail(gate.mirror.roster.readers[0], "its cable was moved")
    assert not gate.mirror.hold.expired
    view = block_of(b"?")
    task = LegTask(gate.mirror.hands, lambda hand: gate.mirror.read(hand, view, 0))
    task.join(0.2)
    assert task.is_alive()
    gate.tend()
    gate.bring_back(gate.mirror.roster.entry(1))
    task.result(20)


def test_the_hold_lasts_as_long_as_somebody_waits_for_room(gate: InProcessGate) -> None:
    leg = fill(gate)
    view = block_of(b"1")
    tasks = [
        LegTask(gate.mirror.hands, lambda hand, at=at: gate.mirror.write(hand, view, at))  # type: ignore[misc]
        for at in (0, 8192)
    ]
    while gate.mirror.room.waiting < len(tasks):
        tasks[0].join(0.001)
    assert gate.mirror.hold.for_room
    leg.full = False
    for task in tasks:
        task.result(20)
    assert not gate.mirror.hold.storage_lost
    assert states(gate) == {1: "in-sync"}


@pytest.mark.parametrize("keep_allocated", [False, True])
@pytest.mark.parametrize("punches", [False, True])
def test_every_step_of_a_long_zeroing_is_an_entry_of_its_own(
    gate: InProcessGate, monkeypatch: pytest.MonkeyPatch, keep_allocated: bool, punches: bool
) -> None:
    """So that none of them is inside the leg for longer than the storage takes for one."""
    write(gate, b"1", 3 << 20)
    monkeypatch.setattr("holdfast.containers.back_end.ZERO_STEP_BYTES", 2 << 20)
    if not punches:

        def refuse(*arguments: object) -> None:
            raise OSError(errno.EOPNOTSUPP, "not here")

        monkeypatch.setattr("holdfast.containers.back_end.fallocate", refuse)
    steps = []

    def entered() -> int:
        return max(hand.entered_ns for hand in gate.mirror.hands.all())

    really_zero = Leg.zero

    def zero(leg: Leg, offset: int, length: int, *, keep_allocated: bool) -> int:
        done = really_zero(leg, offset, length, keep_allocated=keep_allocated)
        steps.append((offset, done, entered()))
        return done

    monkeypatch.setattr(Leg, "zero", zero)
    task = LegTask(
        gate.mirror.hands,
        lambda hand: gate.mirror.zero(hand, 0, SIZE, keep_allocated=keep_allocated),
    )

    task.result(20)
    assert [(offset, done) for offset, done, _ in steps] == (
        [(0, 2 << 20), (2 << 20, 2 << 20)]
        if punches
        else [(place << 20, 1 << 20) for place in range(4)]
    )
    times = [when for _, _, when in steps]
    assert times == sorted(set(times))
    assert read(gate, 3 << 20) == b"\0"


def test_a_step_is_what_storage_does_in_time() -> None:
    assert ZERO_STEP_BYTES <= 64 << 20


def test_a_full_leg_beside_another_is_no_hold(tmp_path: Path) -> None:
    """Nobody waits for storage, so nobody gets the error of a hold, however short that is."""
    gate = InProcessGate(tmp_path, SIZE, 2, JournalMode.NONE)
    gate.start()
    try:
        roster = gate.mirror.roster
        roster.configuration = replace(roster.configuration, hang_timeout_seconds=0.5)
        gate.mirror.hold.set_timeout(0.0)
        full = Full(next(each for each in roster.writers if each.number == 2).back_end)
        roster.filter(2, lambda back_end: full)
        write(gate, b"1", 0)
        assert states(gate) == {1: "in-sync", 2: "failed"}
        assert not gate.mirror.hold.storage_lost
        assert [incident.strategy for incident in gate.mirror.incidents.open] == ["failover"]
    finally:
        gate.die()
