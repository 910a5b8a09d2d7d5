"""An administrator finds in the log why anything happened."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.system.messages import journald
from tests.kernel.fault.bench import Bench, plain_legs
from tests.waiting import wait_until


@pytest.mark.skipif(journald.is_there(), reason="the records are in this host's journal")
def test_a_takeover_is_told(settings: Settings, ram_directory: Path) -> None:
    with Bench(settings, ram_directory, plain_legs(ram_directory, 1, 2)) as bench:
        before = bench.counters()
        os.kill(before.worker_pid, signal.SIGKILL)
        bench.wait_for_receipt("takeover")
        log = bench.state_directory / "gate.log"
        wait_until(lambda: "takeover is over" in log.read_text())
        told = log.read_text()
    assert "worker 1 serves, 2 of 2 legs in sync" in told
    assert "the worker died: the next one takes over" in told
    assert "takeover begins" in told
    assert "worker 2 serves, 2 of 2 legs in sync" in told
