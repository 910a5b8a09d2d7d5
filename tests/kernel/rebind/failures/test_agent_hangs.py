"""An agent that hangs past the deadline is killed, so that those it holds can go on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from holdfast.applications.rebind.agent_process import Alarm
from holdfast.applications.rebind.rebind import Rebind
from holdfast.system.processes.process_state import children_of
from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import Hold
from tests.waiting import wait_until

MANY = 8
"""Users from which on a child looks for them again."""


def test_it_is_killed_and_another_one_finishes(bench: Bench, hold: Hold) -> None:
    program = hold("file", "cwd")
    child = os.fork()
    if child == 0:
        try:
            rebind = bench.rebind(5.0, alarm_seconds=0.5)
            rebind.stop()
            rebind.park()
            signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
            signal.sigwait((signal.SIGTERM,))  # for ever
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    with bench.prepared("xfs") as image:
        pass
    with bench.exchanged(image) as bases:
        regained = Rebind.regain(bench.record)
        assert regained is not None
        regained.rebind(bases)
        regained.release()
    program.verify()


def test_it_ends_with_the_agent_and_when_it_is_cancelled() -> None:
    cancelled = Alarm()
    cancelled.set(time.monotonic_ns())
    cancelled.cancel()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        started = Alarm()
        started.set(time.monotonic_ns() + 60 * 10**9)
        os.write(writing, str(started._pid).encode())
        os._exit(0)
    os.waitpid(child, 0)
    pid = int(os.read(reading, 100))
    os.close(reading)
    os.close(writing)
    wait_until(lambda: not _runs(pid), "it outlives its agent")


def test_one_that_was_killed_before_it_was_set_is_replaced() -> None:
    alarm = Alarm()
    alarm.prepare()
    first = alarm._pid
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: not _runs(first), "it does not end")
    alarm.set(time.monotonic_ns() + 60 * 10**9)
    second = alarm._pid
    assert second != first
    assert _runs(second)
    alarm.cancel()
    assert not _runs(second)


@pytest.mark.parametrize("ends", [Rebind.give_up, lambda rebind: os._exit(0)])
def test_what_was_prepared_ends_when_nobody_is_stopped(
    bench: Bench, hold: Hold, ends: Callable[[Rebind], object]
) -> None:
    programs = [hold("file") for _ in range(MANY)]
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            rebind = bench.rebind()
            rebind.prepare()
            children = children_of(os.getpid())
            os.write(writing, " ".join(map(str, children)).encode())
            ends(rebind)
            os.write(writing, b"".join(b" left" for _ in children_of(os.getpid())))
            signal.pause()
        finally:
            os._exit(1)
    try:
        pids = [int(word) for word in os.read(reading, 1000).split()]
        assert len(pids) == 2  # the alarm, and who looks again
        wait_until(lambda: not any(map(_runs, pids)), "they do not end")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(writing)
    assert not os.read(reading, 1000)
    os.close(reading)
    for program in programs:
        program.verify()


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
