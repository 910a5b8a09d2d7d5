"""Fault: the worker is killed again and again while the log ring is full."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from holdfast.config import Settings
from holdfast.gate.log import ring_layout as layout
from holdfast.gate.log.ring import FILE_NAME
from tests.faults import own_disk
from tests.kernel.fault.bench import Bench, plain_legs
from tests.soak import rounds
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
KILLS = rounds(8, 60)
NEARLY = 28 << 20


def kill_as_a_position_is_recorded(bench: Bench, worker: int) -> None:
    """When gate.json is renamed into its place, and the ring is (nearly) full; or after a while."""
    path = bench.state_directory / "gate.json"
    with (bench.run_directory / FILE_NAME).open("rb") as file:
        page = mmap.mmap(file.fileno(), layout.HEAD_BYTES, prot=mmap.PROT_READ)
        head = memoryview(page).cast("Q")
        deadline = time.monotonic() + 3
        known = path.stat().st_ino
        while time.monotonic() < deadline:
            now = path.stat().st_ino
            kept = head[layout.END] - head[layout.BEGIN]
            if now != known and kept > NEARLY and head[layout.BEGIN] == head[layout.RECORDED]:
                break
            known = now
    os.kill(worker, signal.SIGKILL)


def kill_once(bench: Bench) -> None:
    """And see that writes go on."""
    before = bench.counters()
    wait_until(lambda: bench.counters().writes > before.writes + 60)
    worker = bench.counters().worker_pid
    kill_as_a_position_is_recorded(bench, worker)
    wait_until(lambda: bench.counters().worker_pid != worker)
    now = bench.counters()
    wait_until(lambda: bench.counters().writes > now.writes + 20)


def test_writes_go_on_after_each_kill(
    settings: Settings, ram_directory: Path, disk_directory: Path
) -> None:
    with (
        own_disk(settings.state_directory, disk_directory / "state.image"),
        Bench(
            settings, ram_directory, plain_legs(ram_directory, 1, 1), size_bytes=128 << 20
        ) as bench,
    ):
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER, str(bench.mountpoint / f"w{number}")])
            for number in range(6)
        ]
        try:
            for _ in range(KILLS):
                kill_once(bench)
        finally:
            for writer in writers:
                writer.kill()
            for writer in writers:
                writer.wait()
