"""Fault: the worker that takes over cannot use the log ring."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.gate.log.ring import FILE_NAME, VERSION
from holdfast.gate.log.ring_layout import VERSION_CELL
from holdfast.gate.members.configuration import load_configuration, save_configuration
from holdfast.model.volume import JournalFailurePolicy
from tests.kernel.fault.bench import Bench, plain_legs
from tests.kernel.fault.cells import ONE, TWO, WRITING


def spoil(bench: Bench) -> None:
    """Let the ring look like one of a newer program."""
    with (bench.run_directory / FILE_NAME).open("r+b") as ring:
        ring.seek(VERSION_CELL * 8)
        ring.write((VERSION + 1).to_bytes(8, "little"))


@pytest.mark.parametrize("legs", [ONE, TWO])
@pytest.mark.parametrize("policy", list(JournalFailurePolicy))
def test_the_policy_decides(
    settings: Settings, ram_directory: Path, legs: int, policy: JournalFailurePolicy
) -> None:
    """It goes on without the journal, or holds: never in silence, and nothing old is replayed."""
    urls = plain_legs(ram_directory, 1, legs)
    with Bench(settings, ram_directory, urls) as bench:
        bench.detach()
        configuration = load_configuration(bench.state_directory)
        save_configuration(bench.state_directory, replace(configuration, journal_failure=policy))
        bench.attach()
        activity = bench.start(WRITING)
        activity.goes_on()
        spoil(bench)
        os.kill(bench.counters().worker_pid, signal.SIGKILL)
        if policy is JournalFailurePolicy.HOLD:
            bench.wait_until_held()
            activity.waits()
            assert "the journal failed" in bench.gate.show()["hold_reason"]
            bench.gate.release()
        activity.goes_on()
        assert bench.gate.show()["journal"]["state"] == "degraded"
        assert not (bench.run_directory / FILE_NAME).exists()
        assert bench.wait_for_receipt("journal")["errors_returned"] == 0
        bench.check(legs)
        bench.detach()
        bench.attach()
        assert bench.gate.show()["journal"]["state"] == "active"
        bench.check(legs)
