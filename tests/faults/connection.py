"""FUSE connections from outside: one more copy of the descriptor; by its number, what waits for
one, and its end.

Must never import the code under test.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PIDFD_GETFD = 438  # pidfd_getfd(2), the same on every processor
_APART = ("unshare", "--mount", "--propagation", "private", "sh", "-c")
_ENTER = (
    "cd /sys/fs/fuse/connections;"
    " mountpoint -q . || { mount -t fusectl fusectl . && cd /sys/fs/fuse/connections; };"
    ' [ -d "$1" ] || exit 0; cd "$1";'
)
"""Nothing is printed, and nothing done, where there is no such connection (any more)."""


def abort_connection(number: int) -> None:
    """What waits for its server fails from now on; for the end of a test whose gate cannot end."""
    _tell(number, "echo 1 >abort")


def waiting_requests(number: int) -> int:
    """How many requests its server has not answered."""
    return int(_tell(number, "cat waiting") or 0)


def _tell(number: int, command: str) -> str:
    """Run it in the connection's directory, where fusectl is mounted for it if need be."""
    program = [*_APART, f"{_ENTER} {command}", "sh", str(number)]
    return subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True, timeout=20).stdout


@contextmanager
def copied_connection(pid: int) -> Iterator[None]:
    """This process has that one's /dev/fuse open as well, and does not serve it."""
    [number] = [
        int(each.name)
        for each in Path(f"/proc/{pid}/fd").iterdir()
        if str(each.readlink()) == "/dev/fuse"
    ]
    process = os.pidfd_open(pid)
    copy = ctypes.CDLL(None, use_errno=True).syscall(_PIDFD_GETFD, process, number, 0)
    os.close(process)
    if copy < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    try:
        yield
    finally:
        os.close(copy)
