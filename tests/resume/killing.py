"""Kill the processes of a gate with -9 at random moments: `Killer`, and what must be true after it.

Times are drawn from a seeded generator, so that a failure names its seed. A kill may hit a process
that has just begun, also before it serves.
"""

from __future__ import annotations

import json
import os
import random
import signal
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from holdfast.gate.outside.client import Counters, read_counters
from holdfast.gate.runtime import shared_page

LONGEST_PAUSE_SECONDS = 0.3
"""Between two kills: long enough for many of the workers to serve and to write their receipt."""

AT_ONCE = 0.1
"""Share of the kills that hit the successor as soon as it exists."""

RESTORED_SECONDS = 20.0

BUSY_WRITES = 100
"""Killing begins when the load has written that often."""


def counters(run_directory: Path) -> Counters:
    """The counters of a gate that must be running."""
    found = read_counters(run_directory)
    assert found is not None, "the gate is gone"
    return found


def worker(run_directory: Path) -> int:
    """The worker's process id."""
    return counters(run_directory).worker_pid


def keeper(run_directory: Path) -> int:
    """The keeper's process id."""
    return counters(run_directory).keeper_pid


def kill_worker(run_directory: Path) -> None:
    """Kill the worker, and wait until another one has begun."""
    killer = Killer(run_directory, 1, idle=True)
    killer.start()
    killer.finish()


def is_whole(run_directory: Path) -> bool:
    """Whether the newest worker serves; each of the pair has watched the other since its start."""
    cells = shared_page.open_page(run_directory)
    return cells[shared_page.SERVING] == cells[shared_page.GENERATION]


class Killer(threading.Thread):
    """Kills `count` processes, each named by the next of `targets` in turn."""

    def __init__(
        self,
        run_directory: Path,
        count: int,
        targets: tuple[Callable[[Path], int], ...] = (worker,),
        *,
        seed: int = 0,
        at_once: float = AT_ONCE,
        idle: bool = False,
        signals: tuple[signal.Signals, ...] = (signal.SIGKILL,),
    ) -> None:
        """`signals` are sent in turn. With several targets, none is killed before the pair is whole
        again; with `idle`, killing does not wait for load."""
        super().__init__(name="killer", daemon=True)
        self.run_directory = run_directory
        self.count = count
        self.targets = targets
        self.random = random.Random(seed)
        self.at_once = at_once if len(set(targets)) == 1 else 0.0
        self.idle = idle
        self.signals = signals
        self.killed = 0
        self.problem: BaseException | None = None
        self.enough = threading.Event()
        """Set to end early."""

    def run(self) -> None:
        try:
            if not self.idle:
                self._wait_for_load()
            for number in range(self.count):
                if self.enough.is_set():
                    return
                self._kill(self.targets[number % len(self.targets)])
                self.killed += 1
        except BaseException as error:
            self.problem = error

    def _wait_for_load(self) -> None:
        before = counters(self.run_directory).writes
        deadline = time.monotonic() + RESTORED_SECONDS
        while counters(self.run_directory).writes < before + BUSY_WRITES:
            if time.monotonic() > deadline:
                raise TimeoutError("there is no load")
            time.sleep(0.005)

    def _kill(self, target: Callable[[Path], int]) -> None:
        """Kill the one that is there now, and wait for its successor."""
        if self.random.random() >= self.at_once:
            time.sleep(self.random.uniform(0, LONGEST_PAUSE_SECONDS))
        victim = target(self.run_directory)
        os.kill(victim, self.signals[self.killed % len(self.signals)])
        deadline = time.monotonic() + RESTORED_SECONDS
        while target(self.run_directory) == victim:
            if time.monotonic() > deadline:
                raise TimeoutError(f"process {victim} has no successor")
            time.sleep(0.0005)
        if len(set(self.targets)) > 1:
            self._wait_for_pair(deadline)

    def _wait_for_pair(self, deadline: float) -> None:
        """Wait until keeper and worker watch each other again."""
        while not is_whole(self.run_directory):
            if time.monotonic() > deadline:
                raise TimeoutError("keeper and worker are not whole again")
            time.sleep(0.0005)

    def finish(self) -> None:
        """Wait for the last kill; raises what went wrong."""
        self.join()
        if self.problem is not None:
            raise self.problem
        assert self.killed == self.count or self.enough.is_set()


def receipts(state_directory: Path, strategy: str) -> list[dict[str, Any]]:
    """The receipts of one kind that the gate has written, oldest first."""
    found = [json.loads(path.read_text()) for path in state_directory.glob("spool/*.json")]
    found.sort(key=lambda receipt: receipt["started"])
    return [receipt for receipt in found if receipt["strategy"] == strategy]


def pauses(state_directory: Path, strategy: str = "takeover") -> str:
    """Median and worst of the longest waits that the receipts tell, in words."""
    waits = [receipt["longest_wait_ms"] for receipt in receipts(state_directory, strategy)]
    waits = [wait for wait in waits if wait]
    if not waits:
        return f"no receipt of a {strategy} had a request waiting"
    return (
        f"{len(waits)} receipts of a {strategy} with requests waiting:"
        f" median {statistics.median(waits):.1f} ms, worst {max(waits):.1f} ms"
    )


def connection_of(run_directory: Path) -> Path:
    """/sys/fs/fuse/connections/N of the gate's device."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if fields[4] == str(run_directory / "device"):
            return Path("/sys/fs/fuse/connections") / fields[2].partition(":")[2]
    raise FileNotFoundError(f"{run_directory} has no device mounted")


def assert_nobody_noticed(run_directory: Path) -> Counters:
    """Every request was answered once, and none with an error.

    The kernel refuses an answer to a request that has one already (ENOENT); the gate counts these.
    A request that has none keeps the kernel's count of waiting ones above zero.
    """
    after = counters(run_directory)
    assert after.errors_returned == 0
    assert after.late_replies == 0, "a request was answered twice"
    waiting = connection_of(run_directory) / "waiting"
    deadline = time.monotonic() + 5.0
    while waiting.exists() and int(waiting.read_text()) and time.monotonic() < deadline:
        time.sleep(0.01)
    if waiting.exists():
        assert int(waiting.read_text()) == 0, "a request has no answer"
    return after
