"""Overlapping writes take turns; what a stuck thread holds is let go of on its behalf."""

from __future__ import annotations

import threading
from time import monotonic_ns

import pytest

from holdfast.gate.data.ranges import Ranges
from holdfast.gate.data.task import LegTask
from holdfast.gate.runtime.claims import GivenUp, Hand, Hands
from holdfast.gate.runtime.shared_page import BUSY_SINCE, LEG, SIZE_BYTES


@pytest.fixture
def hands() -> Hands:
    return Hands(memoryview(bytearray(SIZE_BYTES)).cast("Q"))


def test_an_overlapping_range_waits(hands: Hands) -> None:
    ranges, first = Ranges(), hands.take()
    order: list[str] = []
    ranges.enter(first, 0, 4096)

    def second(hand: Hand) -> None:
        ranges.enter(hand, 8192, 1)  # apart: at once
        ranges.leave(hand)
        order.append("apart")
        ranges.enter(hand, 4095, 2)
        order.append("overlapping")
        ranges.leave(hand)

    task = LegTask(hands, second)
    task.join(0.05)
    assert order == ["apart"]
    assert ranges.touches(4095, 1)
    assert not ranges.touches(4096, 1)
    order.append("leave")
    ranges.leave(first)
    task.result(5.0)
    assert order == ["apart", "leave", "overlapping"]


def test_a_thread_that_hangs_in_a_leg_is_given_up_once(hands: Hands) -> None:
    hand, lock = hands.take(), threading.Lock()
    with pytest.raises(GivenUp), hand.holding(lock):
        hand.enter(7)
        assert hand.give_up(monotonic_ns() - 10**12) == 0, "it has not been there for long"
        assert lock.locked()
        assert hand.give_up(monotonic_ns()) == 7
        assert not lock.locked()
        assert hand.give_up(monotonic_ns()) == 0
        assert hands.stuck_in(7, 0)
        lock.acquire()  # somebody else's now
        hand.leave()
    assert lock.locked(), "the late thread must not let go of another one's lock"
    hands.put_back(hand)
    assert not hands.stuck_in(7, 0)


def test_a_thread_that_answered_in_time_is_left_alone(hands: Hands) -> None:
    hand = hands.take()
    hand.enter(3)
    hand.leave()
    assert hand.cells[LEG] == 0
    assert hand.give_up(monotonic_ns()) == 0


def test_slots_of_stuck_threads_are_not_used_again(hands: Hands) -> None:
    stuck = hands.take()
    stuck.enter(1)
    stuck.give_up(monotonic_ns())
    assert hands.take().slot != stuck.slot
    hands.put_back(stuck)
    assert hands.take().slot == stuck.slot
    assert stuck.cells[BUSY_SINCE] == 0
