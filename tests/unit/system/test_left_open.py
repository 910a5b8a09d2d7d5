"""What a process has open that cannot go on: found by where it leads, and taken with its lock."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.system.processes.left_open import LeftOpen, left_open
from tests.leftovers import process_state
from tests.waiting import wait_until


@contextmanager
def process(live: Callable[[Callable[[], None]], object]) -> Iterator[int]:
    """A child that lives so, once it sleeps after it has called what it is given."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            live(lambda: os.close(writing))
        finally:
            os._exit(1)
    try:
        os.close(writing)
        os.read(reading, 1)
        wait_until(lambda: process_state(child) == "S")
        yield child
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def sleep(says: Callable[[], None]) -> None:
    """Of a child that does nothing else."""
    says()
    signal.pause()


def test_it_comes_with_its_lock(tmp_path: Path) -> None:
    image = tmp_path / "leg.img"
    image.touch()

    def live(says: Callable[[], None]) -> None:
        fcntl.flock(os.open(image, os.O_RDWR), fcntl.LOCK_EX)
        sleep(says)

    with process(live) as pid:
        found = left_open(pid, str(image))
        assert found is not None
        taken = [each.take() for each in found]
        assert len(taken) == 1
        assert taken[0] is not None
        assert left_open(pid, str(tmp_path / "other.img")) == []
    with image.open("r+b") as somebody, pytest.raises(BlockingIOError):
        fcntl.flock(somebody, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(taken[0])


def test_not_while_a_thread_is_inside(tmp_path: Path) -> None:
    """Whatever else leads there, too: it may be written to."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def live(says: Callable[[], None]) -> None:
        reading = os.open(pipe, os.O_RDWR)
        os.dup(reading)
        says()
        os.read(reading, 1)

    with process(live) as pid:
        assert left_open(pid, str(pipe)) is None
        assert left_open(pid, str(tmp_path)) == []


def test_nothing_of_one_that_has_ended(tmp_path: Path) -> None:
    with process(sleep) as pid:
        pass
    assert left_open(pid, str(tmp_path)) == []
    assert LeftOpen(pid, 0).take() is None


def test_a_number_that_leads_nowhere_any_more() -> None:
    with process(sleep) as pid:
        assert LeftOpen(pid, os.sysconf("SC_OPEN_MAX") - 1).take() is None
