"""A process shares the memory of a worker, which ends at once when it is killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.gate.data.compiled import COMPILED
from holdfast.system.processes.process_state import DEAD, read_state
from tests.kernel.fault.bench import Bench, plain_legs
from tests.kernel.fault.cells import FLUSHING
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(COMPILED is None, reason="only compiled code can make one")


@pytest.fixture
def bench(settings: Settings, ram_directory: Path) -> Iterator[Bench]:
    with Bench(settings, ram_directory, plain_legs(ram_directory, 1, 2)) as bench:
        bench.start(FLUSHING)
        yield bench
        assert bench.activity is not None
        bench.activity.goes_on()
        assert bench.gate.show()["errors_returned"] == 0
        bench.check(2)


def companions(worker: int) -> list[int]:
    """Children of it that share its memory, and live."""
    children = Path(f"/proc/{worker}/task/{worker}/children").read_text().split()
    named = [int(pid) for pid in children if Path(f"/proc/{pid}/comm").read_text() == "memory\n"]
    return [pid for pid in named if (state := read_state(pid)) and state.state not in DEAD]


def companion_of(bench: Bench) -> int:
    """That of the worker that serves, once it is there."""
    worker = bench.counters().worker_pid
    wait_until(lambda: companions(worker) != [])
    [companion] = companions(worker)
    return companion


def is_buried(pid: int) -> bool:
    """Whether there is no such process, not even to be waited for."""
    return read_state(pid) is None


def wait_for_next(bench: Bench, worker: int) -> None:
    """Wait until another worker serves."""
    wait_until(lambda: bench.counters().worker_pid != worker)


def test_it_shares_the_memory_and_nothing_else(bench: Bench) -> None:
    companion, worker = companion_of(bench), bench.counters().worker_pid
    maps = [
        Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[0] for pid in (companion, worker)
    ]
    assert maps[0] == maps[1]
    assert len(list(Path(f"/proc/{companion}/fd").iterdir())) == 1
    blocked = next(
        line.split()[1]
        for line in Path(f"/proc/{companion}/status").read_text().splitlines()
        if line.startswith("SigBlk")
    )
    unblockable = 1 << (signal.SIGKILL - 1) | 1 << (signal.SIGSTOP - 1)
    assert int(blocked, 16) | unblockable | 3 << 31 == (1 << 64) - 1


def test_it_ends_after_its_worker(bench: Bench) -> None:
    """Killed or not; and each worker has one of its own."""
    seen = set()
    for _ in range(3):
        companion, worker = companion_of(bench), bench.counters().worker_pid
        seen.add(companion)
        os.kill(worker, signal.SIGKILL)
        wait_until(partial(is_buried, companion))
        wait_for_next(bench, worker)
    assert len(seen) == 3


def test_it_is_killed(bench: Bench) -> None:
    """Nobody misses it."""
    companion, worker = companion_of(bench), bench.counters().worker_pid
    os.kill(companion, signal.SIGKILL)
    wait_until(lambda: companions(worker) == [])
    assert bench.activity is not None
    bench.activity.goes_on()
    os.kill(worker, signal.SIGKILL)
    wait_for_next(bench, worker)
