"""Whoever freezes is killed at any instant: nobody stays frozen past the deadline."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from holdfast.applications.freezers.record import RecordFile
from holdfast.system.resources.scheduling import read_urgency
from tests.kernel.freezer.bench import FreezeBench, control_groups, freeze_bench
from tests.waiting import wait_until

SECONDS = 0.8
LONGEST_START_SECONDS = 0.9
LATE_NS = 20 * 10**9
"""A loaded host is slow to notice; a watchdog that is gone would never thaw."""


def freeze_in_child(bench: FreezeBench, by: str) -> int:
    """A process of its own that freezes; the caller kills and collects it."""
    child = os.fork()
    if child == 0:
        try:
            bench.freeze(by, SECONDS)
        finally:
            os._exit(0)
    return child


@pytest.mark.parametrize("by", ["cgroup", "signal", "priority"])
def test_killed_at_a_random_instant(
    ram_directory: Path, by: str, soak_rounds: Callable[[int, int], int]
) -> None:
    """The command, or its watchdog while it works, in turns."""
    chance = random.Random(by)
    with freeze_bench(ram_directory) as bench:
        counter = bench.count(2, 2)
        before = [read_urgency(thread) for thread in counter.threads]
        groups = [control_groups(pid) for pid in counter.pids]
        for turn in range(soak_rounds(4, 200)):
            child = freeze_in_child(bench, by)
            if turn % 2:
                time.sleep(chance.uniform(0, LONGEST_START_SECONDS))
                victims = [child]
            else:
                wait_until(lambda child=child: bool(bench.keepers()) or ended(child))  # type: ignore[misc]
                time.sleep(chance.uniform(0, 0.15))
                victims = bench.keepers()[:1]
            for victim in victims:
                with suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(child, 0)
            record = RecordFile(bench.run, bench.name).load()
            wait_until(lambda: settled(bench))
            if record is not None and record.batches:
                assert time.monotonic_ns() < record.deadline_ns + LATE_NS
            counter.wait_for_progress()
            assert [read_urgency(thread) for thread in counter.threads] == before
            assert [control_groups(pid) for pid in counter.pids] == groups


def ended(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def settled(bench: FreezeBench) -> bool:
    """Nobody is at work any more; a command that died early may leave a record of nobody."""
    file = RecordFile(bench.run, bench.name)
    lock = file.lock()
    if lock is None:
        return False
    os.close(lock)
    record = file.load()
    assert record is None or not record.batches
    return True
