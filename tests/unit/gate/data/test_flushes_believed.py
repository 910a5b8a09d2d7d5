"""Of several that flush one file the kernel tells one of an error: none of them is believed."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic_ns

import pytest

from holdfast.gate.data.compiled import COMPILED
from holdfast.gate.data.task import LegTask
from holdfast.gate.runtime.shared_page import LEG_SINCE
from tests.plugs.file_gate import file_gate
from tests.plugs.gate import BLOCK, SIZE, MemoryGate, written_gate
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("memory_kind")


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[MemoryGate]:
    with written_gate(tmp_path, 1) as gate:
        yield gate


class Flushes:
    """The first one is told of an error, once that is let through; the others that all is well."""

    def __init__(self, error: int) -> None:
        self.error = error
        self.goes_on = threading.Event()
        self.begun = threading.Semaphore(0)
        self._first = threading.Lock()

    def __call__(self) -> None:
        is_first = self._first.acquire(blocking=False)
        self.begun.release()
        if is_first:
            assert self.goes_on.wait(20)
            if self.error:
                raise OSError(self.error, "lost in writing back")


def begin_two(gate: MemoryGate, flushes: Flushes) -> tuple[LegTask[None], LegTask[None]]:
    """The second one has flushed, and has left the leg, while the first is inside."""
    medium, mirror = gate.medium(1), gate.mirror
    before = medium.flushes
    medium.on_flush = flushes
    first = LegTask(mirror.hands, mirror.flush)
    assert flushes.begun.acquire(timeout=20)
    second = LegTask(mirror.hands, mirror.flush)
    wait_until(lambda: medium.flushes == before + 1 and not second.hand.inside_leg)
    return first, second


def test_one_that_hears_nothing_is_not_answered_when_the_other_heard_of_an_error(
    gate: MemoryGate,
) -> None:
    flushes = Flushes(errno.EIO)
    first, second = begin_two(gate, flushes)
    flushes.goes_on.set()
    wait_until(lambda: gate.mirror.hold.storage_lost)
    assert first.is_alive()
    assert second.is_alive()
    gate.bring_back(1)
    first.result(20)
    second.result(20)


def test_both_are_answered_when_nobody_heard_of_one(gate: MemoryGate) -> None:
    flushes = Flushes(0)
    first, second = begin_two(gate, flushes)
    flushes.goes_on.set()
    first.result(20)
    second.result(20)


def test_who_hangs_is_waited_for_until_the_leg_has_failed(gate: MemoryGate) -> None:
    flushes = Flushes(errno.EIO)
    first, second = begin_two(gate, flushes)
    gate.give_up_hanging(1)
    wait_until(lambda: gate.mirror.hold.storage_lost)
    assert first.hand.given_up
    assert second.is_alive()
    flushes.goes_on.set()
    wait_until(lambda: not first.is_alive())
    gate.bring_back(1)
    second.result(20)


@pytest.mark.skipif(COMPILED is None, reason="there is no compiled code")
@pytest.mark.parametrize("outcome", ["leaves", "goes in again", "fails", "was opened before"])
def test_compiled_code_waits_for_whoever_is_inside(tmp_path: Path, outcome: str) -> None:
    with file_gate(tmp_path, 1) as gate:
        gate.wire.write(0, bytes(BLOCK)).result()
        gate.wire.flush().result()
        gate.await_idle()
        roster = gate.mirror.roster
        other = gate.mirror.hands.take()
        other.enter(1)
        if outcome == "was opened before":
            other.cells[LEG_SINCE] = roster.arrived_ns[1] - 1
            gate.wire.flush().result()
        else:
            since_ns = monotonic_ns()
            asked = gate.wire.flush()
            hands = [hand for hand in gate.mirror.hands.all() if hand.serving]
            wait_until(
                lambda: any(each.entered_ns > since_ns and not each.inside_leg for each in hands)
            )
            assert gate.wire.unanswered
            if outcome == "goes in again":
                other.enter(1)
            elif outcome == "fails":
                roster.fail(roster.present[1], "flush: lost in writing back")
                wait_until(lambda: gate.mirror.hold.storage_lost)
                wait_until(lambda: len(gate.mirror.hold._condition._waiters) == 1)  # type: ignore[attr-defined]
                assert gate.wire.unanswered
                other.leave()
                gate.bring_back(1)
            else:
                other.leave()
            asked.result()
        other.leave()
        gate.mirror.hands.put_back(other)


def test_a_leg_becomes_no_source_while_somebody_may_have_heard_of_an_error(
    memory_kind: object, tmp_path: Path
) -> None:
    """Its superblock is being flushed as the copy ends, and that flush alone hears of it."""
    with written_gate(tmp_path, 2) as gate:
        mirror, medium = gate.mirror, gate.medium(2)
        mirror.roster.fail(mirror.roster.present[2], "a test")
        gate.run(mirror.flush)
        copying = mirror.hands.take()
        mirror.ranges.enter(copying, 0, SIZE)
        gate.bring_back(2)
        flushes = medium.on_flush = Flushes(errno.EIO)
        recording = LegTask(mirror.hands, lambda hand: mirror.settling.record_position(hand, 1))
        assert flushes.begun.acquire(timeout=20)
        mirror.ranges.leave(copying)
        mirror.hands.put_back(copying)
        assert flushes.begun.acquire(timeout=20)
        resync = gate.recovery.resyncs[2]
        wait_until(lambda: not resync.hand.inside_leg)
        assert gate.states()[2] == "resyncing"
        flushes.goes_on.set()
        assert not recording.result(20)
        wait_until(lambda: not resync.is_alive())
        assert gate.states() == {1: "in-sync", 2: "failed"}
        assert "leg 2 in sync" not in {step.name for step in resync.incident.steps}
