"""A lock file that says which process has the lock.

The kernel gives the lock back when that process dies; the number in the file means nothing then.
Never blocks.
"""

from __future__ import annotations

import fcntl
import os


def take_lock(descriptor: int) -> bool:
    """Take the lock of an open file; False when somebody has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_holder(descriptor: int) -> None:
    """Write down that this process has it. Raises OSError."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)


def holder_of(descriptor: int) -> int:
    """The process that has it, as far as it has said so; 0: unknown. Raises OSError."""
    text = os.pread(descriptor, 20, 0)
    return int(text) if text.isdigit() else 0
