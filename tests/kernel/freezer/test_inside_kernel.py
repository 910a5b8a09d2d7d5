"""A process that waits inside the kernel is reported, and frozen when it returns."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from holdfast.system.processes.process_state import read_state
from tests.kernel.freezer.bench import freeze_bench
from tests.waiting import wait_until

PROGRAM = """
import ctypes, os, sys
pipe = int(sys.argv[1])
# vfork(2): the parent waits, uninterruptibly, until the child has ended.
if ctypes.CDLL(None).vfork() == 0:
    os.read(pipe, 1)
    os._exit(0)
"""


def state_of(pid: int) -> str:
    state = read_state(pid)
    return state.state if state is not None else ""


def test_it_is_named_at_once_and_stops_later(ram_directory: Path) -> None:
    """Its child, which does not use the volume's files itself, lets it go."""
    with freeze_bench(ram_directory) as bench:
        reading, writing = os.pipe()
        command = [sys.executable, "-c", PROGRAM, str(reading)]
        process = subprocess.Popen(command, cwd=bench.mount, pass_fds=(reading,))
        child = 0
        try:
            wait_until(lambda: state_of(process.pid) == "D")
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            child = int(children.read_text())
            done = bench.freeze("signal")
            assert done.awake == (process.pid,)
            assert state_of(child) == "T"
            os.write(writing, b"x")
            bench.thaw()
            process.wait(20)
        finally:
            for pid in (child, process.pid):
                with suppress(ProcessLookupError, PermissionError):
                    if pid:
                        os.kill(pid, 9)
            process.wait(20)
            os.close(reading)
            os.close(writing)
