"""Fault: the worker is killed again and again while the log ring is full."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import time
from pathlib import Path

from holdfast.config import Settings
from holdfast.gate.log.ring import FILE_NAME
from holdfast.gate.members.configuration import load_configuration
from tests.faults import own_disk
from tests.kernel.fault.bench import Bench, plain_legs
from tests.waiting import wait_until

WRITER = """
import os, sys, mmap
buffer = mmap.mmap(-1, 1 << 20)
buffer.write(b"w" * (1 << 20))
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT | os.O_DIRECT)
while True:
    for place in range(12):
        os.pwrite(file, buffer, place << 20)
"""
KILLS = 60


def ring_of(bench: Bench) -> dict[str, int]:
    head = memoryview((bench.run_directory / FILE_NAME).read_bytes()[:4096]).cast("Q")
    return {
        name: head[cell]
        for name, cell in {"begin": 7, "end": 8, "recorded": 10, "state": 12}.items()
    }


def kill_as_a_position_is_recorded(bench: Bench, worker: int) -> None:
    """When gate.json is renamed into its place, and the ring is (nearly) full."""
    path = bench.state_directory / "gate.json"
    with (bench.run_directory / FILE_NAME).open("rb") as file:
        head = memoryview(mmap.mmap(file.fileno(), 4096, prot=mmap.PROT_READ)).cast("Q")
        deadline = time.monotonic() + 3
        known = os.stat(path).st_ino
        while time.monotonic() < deadline:
            now = os.stat(path).st_ino
            if now != known:
                if head[8] - head[7] > (28 << 20) and head[7] == head[10]:
                    os.kill(worker, signal.SIGKILL)
                    recorded = load_configuration(bench.state_directory).recorded_position
                    print("killed with", list(head[7:11]), recorded, flush=True)
                    return
                known = now
    os.kill(worker, signal.SIGKILL)


def test_writes_go_on_after_each_kill(
    settings: Settings, ram_directory: Path, disk_directory: Path
) -> None:
    with (
        own_disk(settings.state_directory, disk_directory / "state.image"),
        Bench(
            settings,
            ram_directory,
            plain_legs(ram_directory, 1, 1),
            size_bytes=128 << 20,
        ) as bench,
    ):
        writers = [
            subprocess.Popen([os.sys.executable, "-c", WRITER, str(bench.mountpoint / f"w{n}")])
            for n in range(6)
        ]
        try:
            for kill in range(KILLS):
                before = bench.counters()
                wait_until(lambda: bench.counters().writes > before.writes + 60)
                before = bench.counters()
                kill_as_a_position_is_recorded(bench, before.worker_pid)
                wait_until(lambda: bench.counters().takeovers > before.takeovers)
                wait_until(lambda: bench.counters().worker_pid != before.worker_pid)
                now = bench.counters()
                try:
                    wait_until(
                        lambda: bench.counters().writes > now.writes + 20, timeout_seconds=20.0
                    )
                except BaseException:
                    print("kill", kill, "ring", ring_of(bench), bench.gate.show()["journal"])
                    raise
        finally:
            for writer in writers:
                writer.kill()
            if (ring := ring_of(bench))["begin"] == ring["recorded"]:
                bench.kill_everything()
            for writer in writers:
                writer.wait()
