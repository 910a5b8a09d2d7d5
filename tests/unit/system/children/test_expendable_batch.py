"""What hangs, dies or fails costs its own answer only."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from holdfast.system.children.expendable_batch import ask_each, asking
from tests.waiting import wait_until


def answer(item: int) -> int:
    if item == 3:
        threading.Event().wait()
    if item == 5:
        os._exit(1)
    if item == 7:
        raise ValueError
    return item * item


def test_each_item_answers_for_itself() -> None:
    found = ask_each(answer, range(9), item_seconds=0.5)
    assert found == [0, 1, 4, None, 16, None, 36, None, 64]


def test_nothing_is_asked_of_nobody() -> None:
    assert ask_each(answer, []) == []


def test_the_budget_bounds_the_whole() -> None:
    begun = time.monotonic()
    found = ask_each(answer, [3] * 1000, item_seconds=0.1, budget_seconds=0.5)
    assert found == [None] * 1000
    assert time.monotonic() - begun < 10


def test_answers_larger_than_a_pipe() -> None:
    assert ask_each(lambda size: b"x" * size, [1 << 20, 3]) == [b"x" * (1 << 20), b"xxx"]


def test_no_child_and_no_descriptor_is_left() -> None:
    before = os.listdir("/proc/self/fd")  # noqa: PTH208
    ask_each(answer, range(9), item_seconds=0.2)
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208


def test_the_child_begins_before_its_answers_are_fetched() -> None:
    reading, writing = os.pipe()
    with asking(lambda item: os.write(writing, b"x" * item), [3, 4]) as answers:
        os.close(writing)
        assert os.read(reading, 3) == b"xxx"
        assert answers() == [3, 4]
    os.close(reading)


def test_a_child_that_nobody_asks_is_ended() -> None:
    """It would wait for ever; others of this process come and go meanwhile."""
    before = children()
    with asking(answer, [3]):
        made = children() - before
        assert made
    # On a busy host it is dead, and another thread buries it.
    wait_until(lambda: not made & children())


def children() -> set[str]:
    """The numbers of those that the first thread of this process has made."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())
