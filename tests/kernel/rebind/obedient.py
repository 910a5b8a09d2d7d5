"""A program that does what it is told, and moves that are undone."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.applications.rebind.rebind import Rebind
from holdfast.mountpoints.capture import capture
from tests.kernel.rebind.bench import Bench, Program
from tests.kernel.rebind.conftest import Hold

OBEDIENT = """
import array, fcntl, os, select, signal, socket, sys, termios, threading
os.chdir("/")
folder = sys.argv[1]
def unread(end):
    count = array.array("i", [0])
    fcntl.ioctl(end, termios.FIONREAD, count)
    return count[0]
def to_end(end):
    found = b""
    while unread(end):
        found += os.read(end, unread(end))
    return found
print("ready", flush=True)
for line in sys.stdin:
    try:
        try:
            answer = eval(line)
        except SyntaxError:
            answer = exec(line)
    except OSError as error:
        answer = error.strerror
    print(answer, flush=True)
"""
"""A program that does what it is told, and answers with what came of it."""

NOBODY = 65534
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
FILESYSTEMS = ("xfs", "btrfs", "ext4")


@pytest.fixture
def obedient(bench: Bench, start: Hold) -> Callable[..., Program]:
    return lambda *within: start(*within, sys.executable, "-c", OBEDIENT, bench.path)


def told(program: Program, what: str) -> None:
    """Tell a program what takes it long: it answers later."""
    assert program.process.stdin is not None
    program.process.stdin.write(what + "\n")
    program.process.stdin.flush()


def waits_in(program: Program, *calls: int) -> None:
    """Wait until one of its threads waits in one of these system calls, by number."""
    while True:
        for task in Path(f"/proc/{program.pid}/task").iterdir():
            words = (task / "syscall").read_text().split()
            if words[0] in {str(call) for call in calls}:
                return
        time.sleep(0.001)


READ, WRITE, POLL, OPENAT, EPOLL_WAIT = 0, 1, 7, 257, 232


def undone(bench: Bench, rebind: Rebind) -> None:
    """Everything is given back on the file system that is there."""
    bases = {point.id: os.open(bench.path, os.O_PATH) for point in capture(str(bench.path))}
    try:
        rebind.rebind(bases, same_inodes=True)
    finally:
        rebind.release()
        for descriptor in bases.values():
            os.close(descriptor)


def outcomes(
    bench: Bench, filesystem: str, change: Callable[[Path], None] | None = None
) -> set[str]:
    return {line.outcome for line in bench.move(filesystem, change)}
