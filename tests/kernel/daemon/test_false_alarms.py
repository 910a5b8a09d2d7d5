"""Load, a full page cache, and a daemon that is stopped now and then: nobody is told anything."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.service import Holdfast
from tests.conftest import RunHoldfast
from tests.kernel.daemon.pager import daemon, pager_in, told
from tests.kernel.mountpoints.bench import MountBench
from tests.soak import rounds

SECONDS = rounds(2, 3600)
STOPPED_SECONDS = rounds(1, 45)

WRITES = """
import os, sys
while True:
    with open(sys.argv[1], "wb", buffering=0) as file:
        for _ in range(128):
            file.write(bytes(1 << 16))
        if len(sys.argv) > 2:
            os.fsync(file.fileno())
"""


@contextmanager
def at_work(*command: object) -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", *map(str, command)]) as process:
        try:
            yield
        finally:
            process.kill()


@pytest.mark.timeout(SECONDS + 300)
def test_nothing_is_told_of_what_is_well(run_holdfast: RunHoldfast, ram_directory: Path) -> None:
    log = ram_directory / "log"
    with MountBench(ram_directory) as bench, ExitStack() as stack:
        with Holdfast(Settings()) as holdfast:
            for name, filesystem in (("data", "ext4"), ("logs", "xfs")):
                path = bench.mount(bench.device(name, filesystem), f"mnt/{name}")
                holdfast.adopt_volume(name, str(path))
                stack.enter_context(at_work(WRITES, path / "dirty"))
                stack.enter_context(at_work(WRITES, path / "flushed", "flush"))
            holdfast.alerts.add(f"command:{pager_in(ram_directory, log)}")
        watching = stack.enter_context(daemon())
        stack.enter_context(at_work("while True: pass"))
        end = time.monotonic() + SECONDS
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 1.0))
            os.kill(watching.pid, signal.SIGSTOP)
            time.sleep(min(left, STOPPED_SECONDS))
            os.kill(watching.pid, signal.SIGCONT)
        assert run_holdfast("status", "--check").returncode == 0
        assert told(log) == []
