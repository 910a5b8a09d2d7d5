"""An agent that hangs past the deadline is killed, so that those it holds can go on."""

from __future__ import annotations

import os
import signal
import time

from holdfast.applications.rebind.agent_process import Alarm
from holdfast.applications.rebind.rebind import Rebind
from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import Hold
from tests.waiting import wait_until


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
    cancelled = Alarm(time.monotonic_ns())
    cancelled.cancel()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        started = Alarm(time.monotonic_ns() + 60 * 10**9)
        os.write(writing, str(started._pid).encode())
        os._exit(0)
    os.waitpid(child, 0)
    pid = int(os.read(reading, 100))
    os.close(reading)
    os.close(writing)
    wait_until(lambda: not _runs(pid), "it outlives its agent")


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
