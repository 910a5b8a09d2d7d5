"""Claim: whoever is stopped runs again at the deadline, although everything of ours was killed."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from tests.kernel.rebind.bench import Bench, Program
from tests.kernel.rebind.conftest import Hold

WRITER = """
import os, sys
log = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY | os.O_APPEND)
print("ready", flush=True)
for line in sys.stdin:
    try:
        print("ok" if os.write(log, b"x") == 1 else "short", flush=True)
    except OSError as error:
        print(error.strerror, flush=True)
"""
DEADLINE_SECONDS = 5.0
NEVER_SECONDS = 60.0


def kill_the_agent(bench: Bench, deadline_seconds: float, *, parks: bool) -> float:
    """Stop the users, park their handles or not, and die; the monotonic time of the stop."""
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        try:
            rebind = bench.rebind(deadline_seconds)
            rebind.stop()
            if parks:
                rebind.park()
            os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    return began


def writer(bench: Bench, start: Hold) -> Program:
    program: Program = start(sys.executable, "-c", WRITER, bench.path / "log", cwd="/")
    assert program.ask() == "ok"
    return program


def is_free(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    return "TracerPid:\t0" in status and "State:\tT" not in status and "State:\tt" not in status


def test_nothing_was_parked_yet(bench: Bench, start: Hold) -> None:
    """It goes on at once, with everything it had."""
    program = writer(bench, start)
    began = kill_the_agent(bench, NEVER_SECONDS, parks=False)
    assert program.ask() == "ok"
    assert time.monotonic() - began < NEVER_SECONDS / 2
    assert is_free(program.pid)
    assert (bench.path / "log").read_bytes() == b"xx"


def test_handles_were_parked(bench: Bench, start: Hold) -> None:
    """It waits for `recover` until the deadline; then it runs, with errors in place of its file."""
    program = writer(bench, start)
    began = kill_the_agent(bench, DEADLINE_SECONDS, parks=True)
    assert program.ask() == os.strerror(107)  # ENOTCONN
    assert time.monotonic() - began >= DEADLINE_SECONDS
    assert is_free(program.pid)
    assert program.ask() == os.strerror(107)
    assert program.process.poll() is None
