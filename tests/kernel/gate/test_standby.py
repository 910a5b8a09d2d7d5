"""The standby: the next worker in person, replaced when it is gone, and never in the way."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.gate.runtime import shared_page
from holdfast.system.processes.process_state import DEAD, STOPPED, read_state
from tests.kernel.fault.bench import Bench, plain_legs
from tests.kernel.fault.cells import FLUSHING
from tests.recovering import recover
from tests.waiting import wait_until


@pytest.fixture
def bench(settings: Settings, ram_directory: Path) -> Iterator[Bench]:
    with Bench(settings, ram_directory, plain_legs(ram_directory, 1, 2)) as bench:
        bench.start(FLUSHING)
        yield bench


def standby_of(bench: Bench) -> int:
    """Its number; 0: there is none."""
    return shared_page.announced_standby(shared_page.open_page(bench.run_directory))[0]


def wait_for_standby(bench: Bench, other_than: int = 0, timeout_seconds: float = 60.0) -> int:
    """Its number, once there is one."""
    wait_until(lambda: standby_of(bench) not in (0, other_than), timeout_seconds=timeout_seconds)
    return standby_of(bench)


def kill_worker(bench: Bench) -> int:
    """The number of the one that comes after it."""
    killed = bench.counters().worker_pid
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: bench.counters().worker_pid != killed)
    return bench.counters().worker_pid


def lives(pid: int) -> bool:
    """Whether there is such a process, not merely to be buried."""
    state = read_state(pid)
    return state is not None and state.state not in DEAD


def check(bench: Bench) -> None:
    """Nobody saw an error, and the legs are whole."""
    assert bench.activity is not None
    bench.activity.goes_on()
    assert bench.gate.show()["errors_returned"] == 0
    bench.check(2)


def test_it_is_the_next_worker(bench: Bench) -> None:
    for _ in range(3):
        standby = wait_for_standby(bench)
        assert kill_worker(bench) == standby
        assert wait_for_standby(bench, standby) != standby
    check(bench)


def test_its_memory_is_told(bench: Bench) -> None:
    wait_for_standby(bench)
    wait_until(lambda: bench.gate.show()["standby_bytes"] > 1 << 20)


def test_it_is_killed(bench: Bench) -> None:
    """Another one is prepared; and where there is none, a worker is forked."""
    killed = wait_for_standby(bench)
    os.kill(killed, signal.SIGKILL)
    assert wait_for_standby(bench, killed) != killed
    os.kill(standby_of(bench), signal.SIGKILL)
    kill_worker(bench)
    check(bench)


def test_the_successor_is_killed_at_once(bench: Bench) -> None:
    takeovers = bench.counters().takeovers
    for _ in range(6):
        kill_worker(bench)
    wait_until(lambda: bench.counters().takeovers >= takeovers + 6)
    check(bench)


def test_one_that_was_needed_at_once_was_not_in_vain(bench: Bench) -> None:
    """It has had no time to say that it is prepared; the next one does not have to wait for that
    (ten in vain would be a pause of 51 s)."""
    standby = 0
    for _ in range(10):
        standby = wait_for_standby(bench, standby, 20.0)
        kill_worker(bench)
    wait_for_standby(bench, standby, 20.0)
    check(bench)


def test_one_that_is_stopped_keeps_nobody_waiting(bench: Bench) -> None:
    stopped = wait_for_standby(bench)
    os.kill(stopped, signal.SIGSTOP)
    wait_until(lambda: (state := read_state(stopped)) is not None and state.state == STOPPED)
    assert kill_worker(bench) != stopped
    wait_until(lambda: not lives(stopped))
    check(bench)


def test_it_ends_with_the_keeper(bench: Bench) -> None:
    """The next keeper has one of its own."""
    before = bench.counters()
    standby = wait_for_standby(bench)
    os.kill(before.keeper_pid, signal.SIGKILL)
    wait_until(lambda: not lives(standby))
    wait_until(lambda: bench.counters().keeper_pid != before.keeper_pid)
    wait_for_standby(bench, standby)
    check(bench)


def test_a_new_control_socket_is_one_that_it_has(bench: Bench) -> None:
    outdated = wait_for_standby(bench)
    (bench.run_directory / "control").unlink()
    standby = wait_for_standby(bench, outdated)
    wait_until(lambda: not lives(outdated))
    assert kill_worker(bench) == standby
    check(bench)


def test_the_worker_is_killed_when_there_is_a_new_control_socket(bench: Bench) -> None:
    """The one that stands by does not have it yet, and is not to serve."""
    control = bench.run_directory / "control"
    for _ in range(5):
        wait_for_standby(bench)
        control.unlink()
        wait_until(control.exists)
        kill_worker(bench)
        wait_until(bench.answers)
    check(bench)


def test_nothing_stays_when_the_volume_is_detached(bench: Bench) -> None:
    assert bench.activity is not None
    standby = wait_for_standby(bench)
    bench.activity.stop()
    bench.detach()
    assert not lives(standby)


def test_both_killed(bench: Bench) -> None:
    """The connection ends with the standby, and whoever recovers the volume waits for that."""
    assert bench.activity is not None
    standby = wait_for_standby(bench)
    bench.kill_everything()
    bench.activity.process.kill()
    bench.activity.process.wait(10)
    assert recover(bench.settings)
    assert not lives(standby)
    bench.attach()
    wait_for_standby(bench, standby)


def test_both_killed_and_it_is_stopped(bench: Bench) -> None:
    assert bench.activity is not None
    standby = wait_for_standby(bench)
    os.kill(standby, signal.SIGSTOP)
    bench.kill_everything()
    bench.activity.process.kill()
    recover(bench.settings)
    assert not lives(standby)
    bench.activity.process.wait(10)
    bench.attach()
