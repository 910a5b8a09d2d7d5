"""Time in which the observer stood still himself does not count."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from holdfast.gate.data import hold as hold_module
from holdfast.gate.data.hold import Hold, HoldExpired
from holdfast.gate.runtime import watching as watching_module
from holdfast.gate.runtime.shared_page import SIZE_BYTES
from holdfast.gate.runtime.watching import Patience, Watching

SECOND = 1_000_000_000
LIMIT_SECONDS = 5.0
LATE = 1 * SECOND
"""Two rounds, with that limit."""


class Clock:
    """Stands still unless the test says otherwise."""

    def __init__(self) -> None:
        self.now = 1000 * SECOND

    def __call__(self) -> int:
        return self.now

    def passes(self, seconds: float) -> int:
        """So much later; the time then."""
        self.now += int(seconds * SECOND)
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (watching_module, hold_module):
        monkeypatch.setattr(module, "monotonic_ns", clock)
    return clock


@pytest.fixture
def watching(clock: Clock) -> Watching:
    watching = Watching(LIMIT_SECONDS)
    assert watching.look() is None
    return watching


def rounds(watching: Watching, clock: Clock, seconds: float) -> Iterator[tuple[int, int] | None]:
    for _ in range(round(seconds / watching.round_seconds)):
        clock.passes(watching.round_seconds)
        yield watching.look()


def test_without_an_observer_all_time_counts(clock: Clock) -> None:
    watching, began = Watching(LIMIT_SECONDS), clock.now
    clock.passes(3600)
    assert watching.since(began) == 3600 * SECOND


def test_time_counts_while_the_loop_comes_round(clock: Clock, watching: Watching) -> None:
    began = clock.now
    assert not any(rounds(watching, clock, 3600))
    assert watching.since(began) == 3600 * SECOND
    clock.passes(watching.round_seconds * 2)  # late, and not too late
    assert watching.look() is None
    assert watching.since(began) == 3601 * SECOND


def test_what_it_missed_and_the_moment_after_do_not(clock: Clock, watching: Watching) -> None:
    began = clock.now
    list(rounds(watching, clock, 3.0))
    looked, later = clock.now, clock.passes(3600)
    assert watching.since(began) == 3 * SECOND, "it has not even noticed yet"
    assert watching.look() == (looked, later + LATE)
    assert watching.since(began) == 3 * SECOND
    list(rounds(watching, clock, 1.0))
    assert watching.since(began) == 3 * SECOND
    list(rounds(watching, clock, 2.0))
    assert watching.since(began) == 5 * SECOND
    assert watching.since(later + LATE) == 2 * SECOND, "this began afterwards"


def test_standing_still_twice_in_a_row(clock: Clock, watching: Watching) -> None:
    began = clock.now
    for _ in range(2):
        clock.passes(60)
        watching.look()
    assert watching.since(began) == 0
    list(rounds(watching, clock, 4.0))
    assert watching.since(began) == 3 * SECOND


def test_one_that_is_late_each_time_finds_out_in_the_end(clock: Clock, watching: Watching) -> None:
    began, needed = clock.now, 0
    while watching.since(began) < LIMIT_SECONDS * SECOND:
        clock.passes(1.1)
        watching.look()
        needed += 1
        assert needed < 30


def test_a_rest_on_purpose_is_no_standing_still(clock: Clock, watching: Watching) -> None:
    began = clock.now
    clock.passes(2)
    watching.rested(3)
    assert watching.look() is None
    assert watching.since(began) == 2 * SECOND
    clock.passes(60)
    watching.rested(3)
    assert watching.look() == (began + 5 * SECOND, clock.now + LATE), "the rest was missed"
    assert watching.since(began) == 5 * SECOND


def test_it_goes_on_where_one_before_it_looked_last(clock: Clock) -> None:
    looked = clock.now
    clock.passes(7)
    watching = Watching(LIMIT_SECONDS)
    watching.go_on_from(looked)
    assert watching.look() == (looked, clock.now + LATE)


@pytest.mark.parametrize(("limit_seconds", "round_seconds"), [(60.0, 0.5), (1.0, 0.25), (0, 0.01)])
def test_a_short_time_out_is_watched_more_often(limit_seconds: float, round_seconds: float) -> None:
    assert Watching(limit_seconds).round_seconds == round_seconds


def test_a_hold_lasts_longer_by_what_was_missed(clock: Clock, watching: Watching) -> None:
    """And not by more: it ends."""
    hold = Hold(memoryview(bytearray(SIZE_BYTES)).cast("Q"), 10.0, watching)
    request = clock.now
    hold.lose_storage("gone")
    list(rounds(watching, clock, 9.0))
    clock.passes(3600)
    assert not hold.expired, "whoever wakes before the main loop does not take it for expired"
    hold.wait_for_storage(0.001, request)
    missed = watching.look()
    assert missed is not None
    hold.stood_still(*missed)
    assert hold.deadline_ns == clock.now + LATE + 1 * SECOND
    assert not any(rounds(watching, clock, 1.5))
    hold.wait_for_storage(0.001, request)
    list(rounds(watching, clock, 0.5))
    assert hold.enforce() == "expired"
    with pytest.raises(HoldExpired):
        hold.wait_for_storage(0.001, request)


@pytest.mark.parametrize("timeout_seconds", [0.0, 2.0])
def test_a_hold_that_is_over_stays_over(
    clock: Clock, watching: Watching, timeout_seconds: float
) -> None:
    hold = Hold(memoryview(bytearray(SIZE_BYTES)).cast("Q"), timeout_seconds, watching)
    hold.lose_storage("gone")
    list(rounds(watching, clock, 2.0))
    assert hold.expired
    clock.passes(60)
    missed = watching.look()
    assert missed is not None
    hold.stood_still(*missed)
    assert hold.expired


def test_a_hold_that_began_unseen(clock: Clock, watching: Watching) -> None:
    """Just before everything stood still: what was missed after it began does not count."""
    hold = Hold(memoryview(bytearray(SIZE_BYTES)).cast("Q"), 10.0, watching)
    clock.passes(0.25)
    hold.lose_storage("gone")
    clock.passes(60)
    missed = watching.look()
    assert missed is not None
    hold.stood_still(*missed)
    assert hold.deadline_ns == clock.now + LATE + 10 * SECOND


def test_patience_is_not_over_for_one_that_stood_still(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = watching_module.monotonic_ns
    jump, go_on = [0], threading.Event()
    monkeypatch.setattr(watching_module, "monotonic_ns", lambda: clock() + jump[0])
    thread = threading.Thread(target=go_on.wait, daemon=True)
    thread.start()
    patience = Patience(60.0)
    jump[0] = 3600 * SECOND
    threading.Timer(0.05, go_on.set).start()
    patience.wait_for(thread)
    assert not thread.is_alive()


def test_patience_ends() -> None:
    go_on = threading.Event()
    thread = threading.Thread(target=go_on.wait, daemon=True)
    thread.start()
    patience = Patience(0.05)
    patience.wait_for(thread)
    patience.wait_for(thread)
    assert thread.is_alive()
    go_on.set()
    thread.join()
