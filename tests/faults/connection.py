"""FUSE connections from outside: one more copy of the descriptor, and ending one by its number.

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
_PROGRAM = (
    "mount -t fusectl fusectl /sys/fs/fuse/connections;"
    ' [ ! -e "/sys/fs/fuse/connections/$1" ] || echo 1 >"/sys/fs/fuse/connections/$1/abort"'
)


def abort_connection(number: int) -> None:
    """What waits for its server fails from now on; for the end of a test whose gate cannot end."""
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _PROGRAM, "sh"]
    subprocess.run([*command, str(number)], check=True, timeout=20)


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
