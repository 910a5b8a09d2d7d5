"""The daemon, or the job that it began, is killed at random: what was begun is finished, once."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.model.policy import AttemptState
from holdfast.service import Holdfast
from holdfast.system.processes.process_state import children_of
from tests.kernel.daemon.pager import daemon
from tests.kernel.restoration.unattended_bench import arm, losing
from tests.soak import rounds
from tests.waiting import wait_until

LONGEST_SECONDS = 3.0
"""From a daemon's start to the end of what it has begun; as long as it takes here, and more."""


def kill_jobs_of(pid: int) -> None:
    """Kill the jobs that this daemon has begun; one may end meanwhile."""
    for each in children_of(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            if b"holdfast.jobs" in Path(f"/proc/{each}/cmdline").read_bytes():
                os.kill(each, signal.SIGKILL)


@pytest.mark.parametrize("whom", ["daemon", "both"])
def test_killed_at_random(holdfast_home: Path, ram_directory: Path, whom: str) -> None:
    settings = Settings()
    chance = random.Random(os.environ.get("HOLDFAST_SEED", time.time_ns()))
    for number in range(rounds(1, 100)):
        folder = ram_directory / str(number)
        folder.mkdir()
        with losing(settings, folder) as lost, Holdfast(settings) as holdfast:
            arm(settings, lost.copy)

            def is_restored(holdfast: Holdfast = holdfast) -> bool:
                attempt = holdfast.catalog.policies.of("data").attempt
                return attempt is not None and attempt.state is AttemptState.DONE

            lost.lose()
            for _ in range(2):
                with daemon("100ms") as watching:
                    time.sleep(chance.uniform(0, LONGEST_SECONDS))  # the moment is the test
                    if whom == "both":
                        kill_jobs_of(watching.pid)
            with daemon("100ms"):
                wait_until(is_restored)
                lost.goes_on()
            done = [each for each in holdfast.receipts("data") if each.outcome == "done"]
            assert len(done) == number + 1, [each.outcome for each in holdfast.receipts("data")]
            assert holdfast.restorations.in_progress("data") is None
            assert holdfast.recover() == []
            holdfast.catalog.remove("data")
