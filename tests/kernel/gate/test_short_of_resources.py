"""A process of the gate lacks memory or descriptors: its partner mends it, nobody else notices."""

from __future__ import annotations

import os
import resource
import signal
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from holdfast.config import Settings
from tests.kernel.fault.bench import Bench, plain_legs
from tests.kernel.fault.cells import FLUSHING
from tests.waiting import wait_until


@pytest.fixture
def bench(settings: Settings, ram_directory: Path) -> Bench:
    """A volume with two legs, to be entered."""
    return Bench(settings, ram_directory, plain_legs(ram_directory, 1, 2))


def limit(pid: int, what: int, value: int) -> None:
    """Lower or raise a soft limit of a process."""
    resource.prlimit(pid, what, (value, resource.prlimit(pid, what)[1]))


def first_free(pid: int) -> int:
    """The number that the next file would get which it opens."""
    return next(each for each in count() if not os.path.lexists(f"/proc/{pid}/fd/{each}"))


def test_error_in_the_main_loop_of_the_worker(bench: Bench) -> None:
    """It cannot even wait for events any more: a death, after which another one serves."""
    with bench:
        activity = bench.start(FLUSHING)
        before = bench.counters().worker_pid
        limit(before, resource.RLIMIT_NOFILE, 1)
        wait_until(lambda: bench.counters().worker_pid != before)
        activity.goes_on()
        receipt = bench.wait_for_receipt("takeover")
        assert "defect" in receipt["cause"]
        bench.check(2)


def test_error_in_the_main_loop_of_the_keeper(bench: Bench) -> None:
    """It ends and takes nothing away; the worker starts another, which looks after legs again."""
    with bench:
        activity = bench.start(FLUSHING)
        before = bench.counters()
        limit(before.keeper_pid, resource.RLIMIT_NOFILE, 1)
        wait_until(lambda: bench.counters().keeper_pid != before.keeper_pid)
        activity.goes_on()
        assert bench.gate.show()["worker_pid"] == before.worker_pid
        assert {"control", "counters", "device"} <= {
            each.name for each in bench.run_directory.iterdir()
        }
        bench.gate.fault("leg-gone", "2", 0.5)
        activity.goes_on()
        bench.wait_until_healthy(2)
        bench.check(2)


def test_keeper_without_descriptors(bench: Bench) -> None:
    """It cannot look at a leg that is away, says so, and stays."""
    with bench:
        activity = bench.start(FLUSHING)
        keeper = bench.gate.show()["keeper_pid"]
        # It may wait for as many as it has: with a limit below that it would end.
        limit(keeper, resource.RLIMIT_NOFILE, first_free(keeper))
        bench.gate.fault("leg-gone", "2", 0.5)
        activity.goes_on()
        wait_until(lambda: bench.leg_states()[2] == "failed")
        assert bench.gate.look()["keeper_pid"] == keeper  # waits for a look that it cannot have
        limit(keeper, resource.RLIMIT_NOFILE, 1024)
        bench.wait_until_healthy(2)
        assert bench.gate.show()["keeper_pid"] == keeper
        bench.check(2)


def test_last_of_the_pair_goes_on_trying(bench: Bench) -> None:
    """The worker dies, and the keeper cannot start one until it is given descriptors again."""
    with bench:
        activity = bench.start(FLUSHING)
        before = bench.gate.show()
        limit(before["keeper_pid"], resource.RLIMIT_NOFILE, 4)
        os.kill(before["worker_pid"], signal.SIGKILL)
        activity.waits()
        assert bench.counters().keeper_pid == before["keeper_pid"]
        limit(before["keeper_pid"], resource.RLIMIT_NOFILE, 1024)
        activity.goes_on()
        bench.check(2)


def test_worker_that_cannot_start_a_keeper(bench: Bench) -> None:
    """It serves on without one, and starts it when it can."""
    with bench:
        activity = bench.start(FLUSHING)
        before = bench.gate.show()
        limit(before["worker_pid"], resource.RLIMIT_NOFILE, 4)
        with suppress(ProcessLookupError):
            os.kill(before["keeper_pid"], signal.SIGKILL)
        activity.goes_on(50)
        assert bench.counters().keeper_pid == before["keeper_pid"]
        limit(before["worker_pid"], resource.RLIMIT_NOFILE, 1024)
        wait_until(lambda: bench.counters().keeper_pid != before["keeper_pid"])
        activity.goes_on()
        assert bench.gate.show()["worker_pid"] == before["worker_pid"]
        bench.check(2)
