"""Work in steps: several at the same time, in order, each finished whatever becomes of another."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from holdfast.applications.rebind.agent.steps import Steps, side_by_side, through, to_end


class Works:
    """Counts those that are going on."""

    def __init__(self) -> None:
        self.going = 0
        self.most = 0
        self.begun: list[int] = []

    def work(self, number: int, steps: int = 3, fails: bool = False) -> Steps[int]:
        self.going += 1
        self.most = max(self.most, self.going)
        self.begun.append(number)
        try:
            for _ in range(steps):
                yield
            if fails:
                raise OSError(5, f"{number} fails")
            return number * 10
        finally:
            self.going -= 1


def test_the_result_is_that_of_the_work() -> None:
    assert to_end(Works().work(7)) == 70
    assert to_end(through(Works().work(7))) == 70
    assert to_end(through("what was not done in steps")) == "what was not done in steps"


def test_several_go_on_at_the_same_time_and_results_are_in_order() -> None:
    works = Works()
    assert side_by_side(works.work(n, steps=n % 3) for n in range(20)) == [
        n * 10 for n in range(20)
    ]
    assert 1 < works.most <= 4
    assert works.begun == list(range(20))


def test_without_room_there_is_one_at_a_time() -> None:
    works = Works()
    side_by_side((works.work(n) for n in range(5)), lambda: False)
    assert works.most == 1


def test_when_one_fails_no_other_begins_and_the_others_are_finished() -> None:
    works, done = Works(), []

    def all_of() -> Iterator[Steps[None]]:
        for number in range(9):
            yield noting(number)

    def noting(number: int) -> Steps[None]:
        yield from works.work(number, steps=2 if number == 1 else 4, fails=number == 1)
        done.append(number)

    with pytest.raises(OSError, match="1 fails"):
        side_by_side(all_of())
    assert sorted([*done, 1]) == works.begun
    assert len(works.begun) < 9
    assert works.going == 0


def test_whoever_is_slow_is_waited_for_before_another_begins() -> None:
    works = Works()

    def slow() -> Steps[int]:
        yield
        time.sleep(0.05)
        yield
        yield
        return len(works.begun)

    others = [works.work(number, steps=9) for number in range(9)]
    results = side_by_side([others[0], slow(), *others[1:]])
    assert results[1] <= 3
    assert works.begun == list(range(9))
