"""Memory is full and can only be freed by writing through the gate: everybody gets on.

A writer makes many times more dirty data than its control group has memory, beside a hog that
takes most of it, so the kernel frees memory by write-back only. In the harder cases the gate was
started in that group, or is moved there: it leaves, before what it needs counts against that limit.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from itertools import product
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.gate.log.ring import AREA_BYTES
from holdfast.gate.outside.client import GateClient
from holdfast.model.volume import JournalMode, Volume
from holdfast.system.resources.memory import resident_bytes
from tests.faults import MemoryHog
from tests.kernel.volume.stack import volume, wish
from tests.resume.killing import (
    assert_nobody_noticed,
    counters,
    is_whole,
    kill_worker,
)
from tests.scenarios.memory_group import MemoryGroup
from tests.soak import every_other, rounds
from tests.waiting import wait_until

MEBIBYTE = 1 << 20
LIMIT_BYTES = 160 * MEBIBYTE
HOG_BYTES = 80 * MEBIBYTE
WORKER_BYTES = 80 * MEBIBYTE + AREA_BYTES
"""What a worker may have resident, with 16 serving threads and the log ring; docs/performance.md
has measured figures."""
WRITES_BETWEEN = 100
"""Between two disturbances: the load makes 512 requests of 1 MiB at least."""
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
    ("legs", "gate_is"),
    every_other(product((1, 2), ("outside", "born inside", "moved inside")), 1),
)
def test_dirty_data_of_many_times_the_memory(
    holdfast_home: Path,
    disk_directory: Path,
    record_property: Callable[[str, object], None],
    legs: int,
    gate_is: str,
) -> None:
    settings, size_bytes = Settings(), rounds(512, 2048) * MEBIBYTE
    wanted = _wish(disk_directory, legs, size_bytes)
    run_directory = settings.gate_run_directory(wanted.name)
    with ExitStack() as stack:
        group = stack.enter_context(MemoryGroup(f"holdfast-test-{os.getpid()}", LIMIT_BYTES))
        with group.joined() if gate_is == "born inside" else nullcontext():
            made = stack.enter_context(volume(settings, wanted))
        if gate_is == "moved inside":
            _put_inside(run_directory, group)
            kill_worker(run_directory)  # its successor is forked by one who was moved
            wait_until(lambda: is_whole(run_directory))
        wait_until(lambda: not _inside(run_directory, group))
        before = GateClient(run_directory).show()["resident_bytes"]
        highest = _write_much(run_directory, made.mount.path, group, size_bytes)
        figure = (
            f"{legs} leg(s), {size_bytes >> 20} MiB through {LIMIT_BYTES >> 20} MiB:"
            f" worker {before >> 20} MiB before, {highest >> 20} MiB at most;"
            f" group {group.peak_bytes() >> 20} MiB at most"
        )
        record_property("figure", figure)
        print(f"\n{figure}")


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_moved_into_a_full_group_and_killed_meanwhile(
    holdfast_home: Path, disk_directory: Path
) -> None:
    settings, size_bytes = Settings(), rounds(512, 2048) * MEBIBYTE
    wanted = _wish(disk_directory, 1, size_bytes)
    run_directory = settings.gate_run_directory(wanted.name)
    times = rounds(4, 16)

    def disturb() -> None:
        before = counters(run_directory).writes
        for number in range(times):
            wanted_writes = before + number * WRITES_BETWEEN
            wait_until(lambda writes=wanted_writes: counters(run_directory).writes > writes)
            _put_inside(run_directory, group)
            if number % 2:
                kill_worker(run_directory)

    with (
        volume(settings, wanted) as made,
        MemoryGroup(f"holdfast-test-{os.getpid()}", LIMIT_BYTES) as group,
    ):
        _write_much(run_directory, made.mount.path, group, size_bytes, disturb)
        assert counters(run_directory).takeovers >= times // 2


def _wish(folder: Path, legs: int, size_bytes: int) -> Volume:
    urls = [f"file:{folder}/{number}.img" for number in range(legs)]
    return wish(folder, *urls, size_bytes=2 * size_bytes, journal=JournalMode.UNFLUSHED)


def _write_much(
    run_directory: Path,
    path: str,
    group: MemoryGroup,
    size_bytes: int,
    disturb: Callable[[], None] = lambda: None,
) -> int:
    """Write and read so much inside the group, beside a hog; the worker's highest memory."""
    highest = [0]
    with MemoryHog(HOG_BYTES, group.prefix) as hog:
        writer = subprocess.Popen(
            [*group.prefix, sys.executable, "-c", _WRITER, f"{path}/file", str(size_bytes)],
            stderr=subprocess.PIPE,
        )
        watch = threading.Thread(target=_watch, args=(run_directory, writer, highest))
        watch.start()
        try:
            disturb()
            _, errors = writer.communicate()
        finally:
            writer.kill()
            watch.join()
        assert not hog.killed
    assert writer.returncode == 0, errors.decode()
    wait_until(lambda: not _inside(run_directory, group))
    assert max(highest) < WORKER_BYTES
    assert_nobody_noticed(run_directory)
    return max(highest)


def _put_inside(run_directory: Path, group: MemoryGroup) -> None:
    now = counters(run_directory)
    for pid in (now.keeper_pid, now.worker_pid):
        group.add(pid)


def _inside(run_directory: Path, group: MemoryGroup) -> set[int]:
    now = counters(run_directory)
    return {now.keeper_pid, now.worker_pid} & set(group.members())


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
