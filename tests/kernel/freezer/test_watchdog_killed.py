"""The watchdog dies: its guard goes on. Both die: recover or thaw undoes what the record says."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import threading
from pathlib import Path

import pytest

from holdfast.applications.freezers.freezing import frozen, recover_freezes
from holdfast.applications.freezers.record import RecordFile
from holdfast.config import Settings
from holdfast.system.processes.process_state import read_state
from tests.kernel.freezer.bench import FreezeBench, freeze_bench
from tests.waiting import wait_until


def kill_both(bench: FreezeBench) -> None:
    """The guard first, stopped before, so that neither can restore the other."""
    keepers = bench.keepers()
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in reversed(keepers):
            os.kill(pid, number)
    wait_until(lambda: all(gone(pid) for pid in keepers))


def gone(pid: int) -> bool:
    state = read_state(pid)
    return state is None or state.state == "Z"


@pytest.mark.parametrize("which", [0, 1])
def test_one_of_the_two_is_killed(ram_directory: Path, which: int) -> None:
    """The freeze goes on, with two again, and ends when it is told to."""
    with freeze_bench(ram_directory) as bench:
        counter = bench.count()
        bench.freeze("cgroup")
        before = bench.keepers()
        os.kill(before[which], signal.SIGKILL)
        wait_until(lambda: before[which] not in bench.keepers() and len(bench.keepers()) == 2)
        assert bench.stands_still(counter)
        bench.thaw()
        counter.wait_for_progress()
        wait_until(lambda: all(map(gone, before)))


@pytest.mark.parametrize("by", ["cgroup", "signal", "priority"])
def test_recover_thaws_what_both_left(
    ram_directory: Path, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In words, once, and with a receipt."""
    with freeze_bench(ram_directory) as bench:
        monkeypatch.setenv("HOLDFAST_HOME", str(ram_directory / "home"))
        counter = bench.count()
        bench.freeze(by)
        assert recover_freezes(Settings()) == []  # its watchdog lives
        kill_both(bench)
        assert by == "priority" or bench.stands_still(counter)
        done = recover_freezes(Settings())
        assert done == [f"thawed 2 processes of {bench.name}, whose watchdog was dead"]
        counter.wait_for_progress()
        assert recover_freezes(Settings()) == []
        (receipt,) = (bench.state / "freezes" / "spool").glob("*.json")
        values = json.loads(receipt.read_text())
        assert values["strategy"] == "freeze"
        assert {each["pid"] for each in values["processes"]} == set(counter.pids)
        assert all(each["frozen_ms"] > 0 for each in values["processes"])


def test_recover_waits_for_children_that_the_dead_have_left(
    ram_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have the lock a moment longer."""
    with freeze_bench(ram_directory) as bench:
        monkeypatch.setenv("HOLDFAST_HOME", str(ram_directory / "home"))
        counter = bench.count()
        bench.freeze("signal")
        kill_both(bench)
        file = RecordFile(bench.run, bench.name)
        lock = os.open(file.lock_path, os.O_RDWR)
        fcntl.flock(lock, fcntl.LOCK_EX)
        timer = threading.Timer(0.3, os.close, (lock,))
        timer.start()
        assert len(recover_freezes(Settings())) == 1
        timer.join()
        counter.wait_for_progress()


def test_thaw_does_it_as_well(ram_directory: Path) -> None:
    with freeze_bench(ram_directory) as bench:
        counter = bench.count()
        bench.freeze("signal")
        kill_both(bench)
        bench.thaw()
        counter.wait_for_progress()
        assert frozen(bench.run, bench.name) is None
