"""Who begins to use the volume during a freeze is frozen too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.system.processes.process_state import read_state
from tests.kernel.freezer.bench import freeze_bench
from tests.waiting import wait_until

PROGRAM = "import os, sys, time\nos.chdir(sys.argv[1])\nprint('in', flush=True)\nn = 0\n" + (
    "while True:\n    n += 1\n    print(n, flush=True)\n    time.sleep(0.005)\n"
)


@pytest.mark.parametrize("by", ["cgroup", "signal"])
def test_a_newcomer_stands_still(ram_directory: Path, by: str) -> None:
    """It stops writing, and goes on after the thaw, from where it was."""
    with freeze_bench(ram_directory) as bench:
        bench.count(1, 1)
        bench.freeze(by)
        command = [sys.executable, "-c", PROGRAM, str(bench.mount)]
        output = bench.outside / "newcomer"
        with output.open("wb") as stream:
            newcomer = subprocess.Popen(command, stdout=stream)
        try:

            def stands() -> bool:
                size = output.stat().st_size
                bench.heartbeat.wait_for_progress(40)
                return size > 0 and output.stat().st_size == size

            wait_until(stands)
            size = output.stat().st_size
            bench.thaw()
            wait_until(lambda: output.stat().st_size > size)
            state = read_state(newcomer.pid)
            assert state is not None
            assert state.state != "T"
        finally:
            newcomer.kill()
            newcomer.wait()
