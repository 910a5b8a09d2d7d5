"""An administrator's hold, and the worker killed meanwhile, with the log ring."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from holdfast.config import Settings
from tests.kernel.fault.bench import Bench, plain_legs
from tests.kernel.fault.cells import WRITING
from tests.waiting import wait_until


def kill_worker(bench: Bench) -> None:
    """And wait for the next one."""
    before = bench.counters()
    os.kill(before.worker_pid, signal.SIGKILL)
    wait_until(lambda: bench.answers() and bench.counters().takeovers > before.takeovers)


def test_the_ring_goes_on(settings: Settings, ram_directory: Path) -> None:
    with Bench(settings, ram_directory, plain_legs(ram_directory, 1, 2)) as bench:
        activity = bench.start(WRITING)
        for _ in range(3):
            bench.gate.hold(None, "a test")
            kill_worker(bench)
            bench.gate.release()
            activity.goes_on()
        assert bench.gate.show()["journal"]["state"] == "active"
        bench.check(2)
