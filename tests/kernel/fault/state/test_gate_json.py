"""Fault: gate.json is damaged while the gate runs, and the worker dies."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from holdfast.config import Settings
from holdfast.gate.members.configuration import FILE_NAME, load_configuration
from tests.kernel.fault.bench import Bench, plain_legs
from tests.kernel.fault.cells import FLUSHING
from tests.waiting import wait_until


def damage(file: Path) -> None:
    """As a disk leaves it that failed or was full: half of it."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def test_the_next_worker_has_a_copy(settings: Settings, ram_directory: Path) -> None:
    """It goes on with the same legs, and mends the file."""
    urls = plain_legs(ram_directory, 1, 2)
    with Bench(settings, ram_directory, urls) as bench:
        activity = bench.start(FLUSHING)
        damage(bench.state_directory / FILE_NAME)
        os.kill(bench.counters().worker_pid, signal.SIGKILL)
        activity.goes_on()
        wait_until(lambda: not bench.gate.show()["unsaved"])
        assert len(load_configuration(bench.state_directory).legs) == 2
        bench.wait_until_healthy(2)
        bench.check(2)


def test_without_a_copy_either_the_deadline_holds(settings: Settings, ram_directory: Path) -> None:
    """No worker can start: requests get EIO at the hold's deadline, and go on when one can."""
    urls = plain_legs(ram_directory, 1, 1)
    with Bench(settings, ram_directory, urls, hold_timeout_seconds=1.0) as bench:
        activity = bench.start(FLUSHING)
        files = [bench.state_directory / FILE_NAME, bench.run_directory / FILE_NAME]
        whole = files[0].read_bytes()
        for file in files:
            damage(file)
        worker = bench.counters().worker_pid
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: bench.counters().errors_returned > 0)
        wait_until(lambda: activity.snapshot().errors > 0)
        [told] = [each for each in bench.receipts() if "no worker" in each["cause"]]
        assert "EIO" in told["outcome"]
        files[0].write_bytes(whole)
        wait_until(lambda: bench.gate.show()["takeovers"] > 0)
        takeover = bench.wait_for_receipt("takeover")
        assert takeover["errors_returned"] > 0
        assert json.loads(files[0].read_text())["name"] == bench.volume.name
