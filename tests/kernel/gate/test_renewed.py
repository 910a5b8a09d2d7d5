"""`volume restart-gate` never ends the last of the pair, whatever became of the other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import DeadlinePassed, GateGone
from holdfast.gate.outside.renewing import renew
from holdfast.gate.processes.remains import living_processes
from holdfast.gate.runtime.shared_page import FILE_NAME
from holdfast.system.processes.process_state import STOPPED, read_state
from tests.kernel.fault.bench import Bench, plain_legs
from tests.kernel.fault.cells import FLUSHING
from tests.waiting import wait_until

SECONDS = 60.0
TOO_SHORT_SECONDS = 1.0
"""Nobody takes a process for hanging sooner (partner.SHORTEST_LIMIT_SECONDS)."""

DIES_HALF_WAY = """
import os, sys
from pathlib import Path
from holdfast.gate.runtime import shared_page
from holdfast.system.processes.process_state import start_time
cells = shared_page.open_page(Path(sys.argv[1]))
shared_page.announce_renewal(cells, os.getpid(), start_time(os.getpid()))
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def bench(settings: Settings, ram_directory: Path) -> Iterator[Bench]:
    with Bench(settings, ram_directory, plain_legs(ram_directory, 1, 2)) as bench:
        bench.start(FLUSHING)
        yield bench
        assert bench.activity is not None
        bench.activity.goes_on()
        assert bench.gate.show()["errors_returned"] == 0


def stop(pid: int) -> None:
    """As an administrator or a debugger would; it stands still when this returns."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: state_of(pid) == STOPPED)


def state_of(pid: int) -> str:
    """Of proc_pid_stat(5); empty: it is gone."""
    found = read_state(pid)
    return found.state if found else ""


@pytest.mark.parametrize("first", ["keeper", "worker"])
def test_one_that_was_killed_just_before_is_waited_for(bench: Bench, first: str) -> None:
    before = bench.counters()
    os.kill(before.keeper_pid if first == "keeper" else before.worker_pid, signal.SIGKILL)
    renew(bench.run_directory, SECONDS)
    after = bench.counters()
    assert not {before.keeper_pid, before.worker_pid} & {after.keeper_pid, after.worker_pid}


@pytest.mark.parametrize("first", ["keeper", "worker"])
def test_beside_one_that_stands_still_nothing_is_ended(bench: Bench, first: str) -> None:
    before = bench.counters()
    still = before.keeper_pid if first == "keeper" else before.worker_pid
    stop(still)
    with pytest.raises(DeadlinePassed) as refused:
        renew(bench.run_directory, TOO_SHORT_SECONDS)
    assert "stands still" in refused.value.mend
    assert living_processes(bench.run_directory) == [before.keeper_pid, before.worker_pid]
    os.kill(still, signal.SIGCONT)
    renew(bench.run_directory, SECONDS)


def test_the_last_of_the_pair_is_not_ended(bench: Bench) -> None:
    before = bench.counters()
    stop(before.keeper_pid)
    os.kill(before.worker_pid, signal.SIGKILL)
    with pytest.raises(DeadlinePassed):
        renew(bench.run_directory, TOO_SHORT_SECONDS)
    assert before.keeper_pid in living_processes(bench.run_directory)
    os.kill(before.keeper_pid, signal.SIGCONT)


def test_a_worker_that_dies_after_a_renewal_was_cut_short_has_died(bench: Bench) -> None:
    subprocess.run(
        [sys.executable, "-c", DIES_HALF_WAY, str(bench.run_directory)], check=False, timeout=60
    )
    bench.kill(bench.counters().worker_pid)
    assert bench.wait_for_receipt("takeover")["cause"] == "the worker died"


def test_a_worker_that_was_renewed_says_so(bench: Bench) -> None:
    renew(bench.run_directory, SECONDS)
    assert "restart-gate" in bench.wait_for_receipt("takeover")["cause"]


def test_processes_that_have_all_ended_are_no_gate(settings: Settings, ram_directory: Path) -> None:
    with Bench(settings, ram_directory, plain_legs(ram_directory, 1, 1)) as bench:
        bench.kill_everything()
        assert (bench.run_directory / FILE_NAME).exists()
        with pytest.raises(GateGone):
            renew(bench.run_directory, SECONDS)
