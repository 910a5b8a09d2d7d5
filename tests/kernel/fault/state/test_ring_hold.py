"""Commands while the ring is full and a write waits for room in it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from holdfast.config import Settings
from tests.kernel.fault.bench import Bench, plain_legs
from tests.kernel.fault.cells import WRITING
from tests.waiting import wait_until


def test_hold_release_kill_two_volumes(settings: Settings, ram_directory: Path) -> None:
    """Hold under load, kill the worker while held, release; the ring and its state go on."""
    with Bench(settings, ram_directory, plain_legs(ram_directory, 1, 2)) as bench:
        activity = bench.start(WRITING)
        for _ in range(6):
            bench.gate.hold(None, "a test")
            before = bench.counters()
            os.kill(before.worker_pid, signal.SIGKILL)
            wait_until(lambda: bench.answers() and bench.counters().takeovers > before.takeovers)
            bench.gate.release()
            activity.goes_on()
        assert bench.gate.show()["journal"]["state"] == "active"
        bench.check(2)
