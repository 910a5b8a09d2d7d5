"""Holds: who waits, until when, and what a successor finds of it."""

from __future__ import annotations

import threading

import pytest

from holdfast.gate.data.hold import Hold, HoldExpired
from holdfast.gate.runtime.shared_page import SIZE_BYTES
from holdfast.gate.runtime.watching import Watching


@pytest.fixture
def cells() -> memoryview:
    return memoryview(bytearray(SIZE_BYTES)).cast("Q")


def waiting(hold: Hold, outcomes: list[str]) -> threading.Thread:
    def wait() -> None:
        try:
            hold.wait_for_storage()
            outcomes.append("goes on")
        except HoldExpired:
            outcomes.append("EIO")

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_requests_go_on_when_storage_is_back(cells: memoryview) -> None:
    hold, outcomes = Hold(cells, 60.0, Watching()), list[str]()
    hold.lose_storage("gone")
    thread = waiting(hold, outcomes)
    assert hold.enforce() == ""
    assert not outcomes
    hold.regain_storage()
    thread.join(5.0)
    assert outcomes == ["goes on"]
    assert not hold.storage_lost
    assert hold.deadline_ns == 0


def test_past_the_deadline_they_fail_and_so_do_later_ones(cells: memoryview) -> None:
    hold, outcomes = Hold(cells, 0.05, Watching()), list[str]()
    hold.lose_storage("gone")
    thread = waiting(hold, outcomes)
    while hold.enforce() != "expired":
        thread.join(0.005)
    thread.join(5.0)
    assert outcomes == ["EIO"]
    with pytest.raises(HoldExpired):
        hold.wait_for_storage()
    hold.regain_storage()
    hold.wait_for_storage()


def test_no_time_at_all(cells: memoryview) -> None:
    hold = Hold(cells, 0.0, Watching())
    hold.lose_storage("gone")
    with pytest.raises(HoldExpired):
        hold.wait_for_storage()


def test_a_second_loss_keeps_the_deadline_and_so_does_a_successor(cells: memoryview) -> None:
    hold = Hold(cells, 60.0, Watching())
    hold.lose_storage("gone")
    deadline = hold.deadline_ns
    hold.lose_storage("gone again")
    successor = Hold(cells, 60.0, Watching())
    assert (hold.deadline_ns, successor.deadline_ns) == (deadline, deadline)
    assert successor.storage_lost
    assert successor.reason


def test_an_administrators_hold_ends_without_an_error(cells: memoryview) -> None:
    hold = Hold(cells, 60.0, Watching())
    hold.begin(0.02, "maintenance")
    assert Hold(cells, 60.0, Watching()).administrative
    thread = threading.Thread(target=hold.wait_for_release, daemon=True)
    thread.start()
    while hold.enforce() != "released":
        thread.join(0.002)
    thread.join(5.0)
    assert not thread.is_alive()
    assert not hold.release()
