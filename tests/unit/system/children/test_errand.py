"""A child that is asked now and then how far it is: nobody waits for it, nothing of it stays."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable

import pytest

from holdfast.system.children.errand import Errand
from tests.waiting import wait_until

Tell = Callable[[int], None]


def count_and_stay(tell: Tell) -> None:
    tell(1)
    tell(2)
    signal.pause()


def count_and_die(tell: Tell) -> None:
    tell(1)
    raise RuntimeError


def await_more(errand: Errand[int]) -> None:
    assert select.select([errand], [], [], 60)[0]


def test_answers_come_as_they_are_given() -> None:
    errand = Errand(count_and_stay)
    found: list[int] = []
    while len(found) < 2:
        await_more(errand)
        found += errand.fetch()
    assert found == [1, 2]
    assert errand.fetch() == [] and not errand.is_over and not errand.is_gone()
    errand.end()
    errand.end()
    wait_until(errand.is_gone)
    with pytest.raises(ProcessLookupError):
        os.kill(errand.pid, 0)


def test_one_that_dies_is_over_with_what_it_had_said() -> None:
    errand = Errand(count_and_die)
    found: list[int] = []
    while not errand.is_over:
        await_more(errand)
        found += errand.fetch()
    assert found == [1]
    errand.end()
    wait_until(errand.is_gone)


def test_one_that_is_stopped_keeps_nobody_waiting() -> None:
    errand = Errand(count_and_stay)
    os.kill(errand.pid, signal.SIGSTOP)
    errand.fetch()
    errand.end()
    wait_until(errand.is_gone)
