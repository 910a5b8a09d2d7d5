"""At the deadline everybody continues, although whoever froze them is dead."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from holdfast.applications.freezers.freezing import frozen
from tests.kernel.freezer.bench import freeze_bench
from tests.waiting import wait_until

SECONDS = 3.0


@pytest.mark.parametrize("by", ["cgroup", "signal", "priority"])
def test_the_commanding_process_is_killed(ram_directory: Path, by: str) -> None:
    """It dies with -9 as soon as everybody stands still."""
    with freeze_bench(ram_directory) as bench:
        counter = bench.count()
        child = os.fork()
        if child == 0:
            bench.freeze(by, SECONDS)
            os.kill(os.getpid(), signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL
        record = frozen(bench.run, bench.name)
        assert record is not None
        wait_until(lambda: frozen(bench.run, bench.name) is None)
        assert time.monotonic_ns() >= record.deadline_ns
        counter.wait_for_progress()
        assert list((bench.state / "freezes" / "spool").glob("*.json"))


def test_a_watchdog_that_is_stopped_is_replaced(ram_directory: Path) -> None:
    """Its guard kills it when it is late, and thaws."""
    with freeze_bench(ram_directory) as bench:
        counter = bench.count()
        bench.freeze("cgroup", SECONDS)
        watchdog, _ = bench.keepers()
        os.kill(watchdog, signal.SIGSTOP)
        wait_until(lambda: frozen(bench.run, bench.name) is None)
        counter.wait_for_progress()
