"""Work that a child shares: the same answers, whatever becomes of the child."""

from __future__ import annotations

import os
import signal

import pytest

from holdfast.errors import Blocked
from holdfast.system.children.halves import in_halves

US = os.getpid()


def test_answers_come_in_order_and_half_of_them_from_a_child() -> None:
    answers = in_halves(lambda item: (item, os.getpid()), range(5))
    assert [item for item, _ in answers] == [0, 1, 2, 3, 4]
    assert [pid == os.getpid() for _, pid in answers] == [True, True, True, False, False]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_items(count: int) -> None:
    assert in_halves(str, range(count)) == [str(each) for each in range(count)]


def test_a_child_that_dies_costs_nothing_but_time() -> None:
    def work(item: int) -> int:
        if os.getpid() != US:
            os.kill(os.getpid(), signal.SIGKILL)
        return item * 2

    assert in_halves(work, range(6)) == [0, 2, 4, 6, 8, 10]


@pytest.mark.parametrize("bad", [0, 5])
def test_what_one_refuses_is_refused(bad: int) -> None:
    def work(item: int) -> int:
        if item == bad:
            raise Blocked(f"{item} is bad", "None.")
        return item

    with pytest.raises(Blocked, match=f"{bad} is bad"):
        in_halves(work, range(6))
