"""How long an fdatasync writer waits when the storage or its driver fails under it.

The writer is the demo's appender without a pause; the figure of a round is the longest wait that it
saw from before the fault until it has written on.
"""

from __future__ import annotations

import errno
import os
import random
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.commands import BenchmarkError, wait_until
from benchmarks.comparison import say
from benchmarks.subjects import COMPILED, PYTHON, HoldfastVolume, remove_folder
from holdfast.demo.applications.launch import RunningApplication
from holdfast.gate.outside.client import read_counters
from holdfast.gate.runtime import shared_page
from holdfast.gate.runtime.shared_page import Counters
from tests.faults import FuseLeg, truncate_to_zero

VOLUME_BYTES = 64 << 20
LEG_BYTES = 80 << 20
TAKEOVER_VOLUME_BYTES = 512 << 20
"""300 takeovers with a standby take some five minutes, in which the writer fills 64 MiB on a fast
host; its pages count for nothing, as its file only grows."""
HANG_TIMEOUT_SECONDS = 1.0
OPERATIONS_BEFORE = 200
OPERATIONS_AFTER = 200
TIMEOUT_SECONDS = 60.0


@dataclass
class Latency:
    """Waits of one kind of fault in milliseconds, one per round."""

    name: str
    waits_ms: list[float] = field(default_factory=list)
    errors: int = 0
    goal_ms: float = 0.0
    """Goal for the median."""

    @property
    def median_ms(self) -> float:
        """The median wait."""
        return statistics.median(self.waits_ms)

    @property
    def worst_ms(self) -> float:
        """The longest wait."""
        return max(self.waits_ms)


def takeover(parent: Path, rounds: int) -> Latency:
    """The worker is killed (-9) again and again under one writer, who verifies in the end; each
    time when another one stands by."""
    return _takeovers(parent, rounds, "worker killed: takeover", _wait_for_standby)


def takeover_again(parent: Path, rounds: int) -> Latency:
    """Its successor is killed at once: as long as none stands by, the keeper has to fork one."""
    return _takeovers(parent, rounds, "its successor killed at once", lambda volume: None)


def _takeovers(
    parent: Path, rounds: int, name: str, wait: Callable[[HoldfastVolume], None]
) -> Latency:
    latency = Latency(name, goal_ms=8.0)
    chance = random.Random(0)
    with _folder(parent) as folder:
        urls = [f"file:{folder}/leg0.img"]
        volume = HoldfastVolume(folder, urls, "none", TAKEOVER_VOLUME_BYTES)
        with volume, _writer(volume) as writer:
            path = COMPILED if volume.show()["gate"]["compiled"] else PYTHON
            latency.name += f" ({path})"
            for _ in range(rounds):
                wait(volume)
                gate = _counters(volume)
                writer.progress.begin_window()
                time.sleep(chance.uniform(0.0, 0.02))
                os.kill(gate.worker_pid, signal.SIGKILL)
                _write_on(writer)
                latency.waits_ms.append(writer.snapshot().window_wait_ns / 1e6)
                _wait_for_takeover(volume, gate.takeovers)
            latency.errors = writer.snapshot().errors + len(writer.verify())
    return latency


def failover_by_error(parent: Path, rounds: int) -> Latency:
    """One of two legs answers EIO."""
    latency = Latency("leg returns EIO: failover", goal_ms=20.0)
    for _ in range(rounds):
        with _folder(parent) as folder, _served(folder) as leg:
            urls = [f"file:{folder}/leg0.img", leg.url]
            with HoldfastVolume(folder, urls, size_bytes=VOLUME_BYTES) as volume:
                _one_fault(latency, volume, partial(leg.error, errno.EIO))
    return latency


def failover_by_truncation(parent: Path, rounds: int) -> Latency:
    """The image of the leg that is read is emptied."""
    latency = Latency("leg truncated: failover", goal_ms=20.0)
    for _ in range(rounds):
        with _folder(parent) as folder:
            urls = [f"file:{folder}/leg{number}.img" for number in (0, 1)]
            with HoldfastVolume(folder, urls, size_bytes=VOLUME_BYTES) as volume:
                _one_fault(latency, volume, partial(truncate_to_zero, folder / "leg0.img"))
    return latency


def failover_by_hang(parent: Path, rounds: int) -> Latency:
    """One of two legs answers nothing any more."""
    seconds = HANG_TIMEOUT_SECONDS
    latency = Latency(f"leg hangs (time-out {seconds:.0f} s): failover")
    latency.goal_ms = seconds * 1000 + 50
    for _ in range(rounds):
        with _folder(parent) as folder, _served(folder) as leg:
            urls = [f"file:{folder}/leg0.img", leg.url]
            options = (f"--hang-timeout={seconds}s",)
            with HoldfastVolume(folder, urls, "unflushed", VOLUME_BYTES, options) as volume:
                _one_fault(latency, volume, leg.hang)
                leg.serve()
    return latency


LATENCIES = {
    "takeover": takeover,
    "takeover-again": takeover_again,
    "failover-error": failover_by_error,
    "failover-truncate": failover_by_truncation,
    "failover-hang": failover_by_hang,
}


def _one_fault(latency: Latency, volume: HoldfastVolume, fault: Callable[[], object]) -> None:
    with _writer(volume) as writer:
        writer.progress.begin_window()
        fault()
        _write_on(writer)
        wait_until(lambda: volume.show()["state"] == "degraded", "the failover", TIMEOUT_SECONDS)
        now = writer.snapshot()
        latency.waits_ms.append(now.window_wait_ns / 1e6)
        latency.errors += now.errors
    say(f"{latency.name}: {latency.waits_ms[-1]:.1f} ms")


@contextmanager
def _writer(volume: HoldfastVolume) -> Iterator[RunningApplication]:
    application = RunningApplication("appender", volume.directory, volume.folder, pause_seconds=0)
    with application:
        application.wait_for(lambda now: now.acknowledged >= OPERATIONS_BEFORE, TIMEOUT_SECONDS)
        yield application
        application.stop()


def _wait_for_takeover(volume: HoldfastVolume, before: int) -> None:
    wait_until(lambda: _counters(volume).takeovers > before, "the takeover is counted")


def _wait_for_standby(volume: HoldfastVolume) -> None:
    """Until the next worker is prepared and waits: it locks its memory last, which takes it tens of
    milliseconds."""
    cells = shared_page.open_page(volume.run_directory)

    def is_prepared() -> bool:
        pid, _ = shared_page.announced_standby(cells)
        return bool(pid) and _sleeps_in_locked_memory(pid)

    wait_until(is_prepared, "a worker that stands by", TIMEOUT_SECONDS)


def _sleeps_in_locked_memory(pid: int) -> bool:
    """proc_pid_status(5)."""
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        found = {name: value.split() for name, _, value in (each.partition(":") for each in lines)}
        return found["State"][0] == "S" and int(found.get("VmLck", ["0"])[0]) > 0
    return False


def _counters(volume: HoldfastVolume) -> Counters:
    found = read_counters(volume.run_directory)
    if found is None:
        raise BenchmarkError("the gate is gone")
    return found


def _write_on(writer: RunningApplication) -> None:
    goal = writer.snapshot().acknowledged + OPERATIONS_AFTER
    writer.wait_for(lambda now: now.acknowledged >= goal, TIMEOUT_SECONDS)


@contextmanager
def _served(folder: Path) -> Iterator[FuseLeg]:
    with FuseLeg(folder / "leg1.img", folder / "served.img", LEG_BYTES) as leg:
        yield leg


@contextmanager
def _folder(parent: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="hf-bench-", dir=parent))
    try:
        yield folder
    finally:
        remove_folder(folder)
