"""Memory is full and can only be freed by writing through the gate: everybody gets on.

A writer makes many times more dirty data than its control group has memory, beside a hog that
takes most of it, so the kernel frees memory by write-back only. In the harder case the gate lives
in the same group: what it needs to serve that write-back counts against the same limit.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.gate.client import GateClient
from holdfast.model.volume import JournalMode
from holdfast.system.memory import resident_bytes
from tests.faults import MemoryHog
from tests.kernel.volume_stack import volume, wish
from tests.resume.killing import assert_nobody_noticed, counters, is_whole, kill_worker
from tests.scenarios.memory_group import MemoryGroup
from tests.soak import rounds
from tests.waiting import wait_until

MEBIBYTE = 1 << 20
LIMIT_BYTES = 160 * MEBIBYTE
HOG_BYTES = 80 * MEBIBYTE
WORKER_BYTES = 64 * MEBIBYTE
"""What a worker may have resident; docs/gate.md has the measured figure."""
STALL_SECONDS = 20.0
"""Without any write reaching the legs, that long is a deadlock."""

_WRITER = """
import os, sys
path, size = sys.argv[1], int(sys.argv[2])
block = os.urandom(1 << 20)
with open(path, "wb", buffering=0) as file:
    for number in range(size >> 20):
        file.write(number.to_bytes(8, "little") + block[8:])
    os.fsync(file.fileno())
with open(path, "rb", buffering=0) as file:
    for number in range(size >> 20):
        found = file.read(1 << 20)
        assert found == number.to_bytes(8, "little") + block[8:], number
"""


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "gate_inside",
    [
        pytest.param(False, id="gate outside"),
        pytest.param(
            True,
            id="gate inside",
            marks=pytest.mark.skip(
                reason="a known fault: without PR_SET_IO_FLUSHER the worker waits for write-back"
            ),
        ),
    ],
)
@pytest.mark.parametrize("legs", [1, 2])
def test_dirty_data_of_many_times_the_memory(
    holdfast_home: Path,
    disk_directory: Path,
    record_property: Callable[[str, object], None],
    legs: int,
    gate_inside: bool,
) -> None:
    settings = Settings()
    size_bytes = rounds(512, 2048) * MEBIBYTE
    urls = [f"file:{disk_directory}/{number}.img" for number in range(legs)]
    wanted = wish(disk_directory, *urls, size_bytes=2 * size_bytes, journal=JournalMode.UNFLUSHED)
    with (
        volume(settings, wanted) as made,
        MemoryGroup(f"holdfast-test-{os.getpid()}", LIMIT_BYTES) as group,
    ):
        run_directory = settings.gate_run_directory(made.name)
        if gate_inside:
            group.add(counters(run_directory).keeper_pid)
            kill_worker(run_directory)  # its successor is born inside
            wait_until(lambda: is_whole(run_directory))
            assert counters(run_directory).worker_pid in group.members()
        gate = GateClient(run_directory)
        before = gate.show()["resident_bytes"]
        highest = [before]
        with MemoryHog(HOG_BYTES, group.prefix) as hog:
            writer = subprocess.Popen(
                [
                    *(*group.prefix, sys.executable, "-c", _WRITER),
                    *(f"{made.mount.path}/file", str(size_bytes)),
                ],
                stderr=subprocess.PIPE,
            )
            watch = threading.Thread(target=_watch, args=(run_directory, writer, highest))
            watch.start()
            _, errors = writer.communicate()
            watch.join()
            assert not hog.killed
        assert writer.returncode == 0, errors.decode()
        assert max(highest) < WORKER_BYTES
        figure = (
            f"{legs} leg(s), {size_bytes >> 20} MiB through {LIMIT_BYTES >> 20} MiB:"
            f" worker {before >> 20} MiB before, {max(highest) >> 20} MiB at most;"
            f" group {group.peak_bytes() >> 20} MiB at most"
        )
        record_property("figure", figure)
        print(f"\n{figure}")
        assert_nobody_noticed(run_directory)


def _watch(run_directory: Path, writer: subprocess.Popen[bytes], highest: list[int]) -> None:
    """Note the worker's resident memory; end the writer when nothing moves any more."""
    moved, seen = time.monotonic(), 0
    while writer.poll() is None:
        now = counters(run_directory)
        highest.append(resident_bytes(now.worker_pid))
        if now.written_bytes + now.read_bytes != seen:
            moved, seen = time.monotonic(), now.written_bytes + now.read_bytes
        elif time.monotonic() > moved + STALL_SECONDS:
            writer.kill()
        time.sleep(0.05)
