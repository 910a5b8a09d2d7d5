"""One gate writes a history: the lock in its directory, which other hosts see as well.

Invariant: whoever has it is the only one who begins segments. It ends with the process, however
that ends; a process with a thread that hangs in storage has it until that returns. Never waits.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path

from holdfast.gate.log.history.segments import out_of_the_way

FILE_NAME = "lock"

MARK = b"begun\n"
"""In that file once there was a segment: a directory without any has lost them."""


def take_fence(directory: int, path: Path, *, make: bool) -> int:
    """The descriptor that has the lock until it is closed. `make` the file when it is not there:
    otherwise a directory without it is that of a disk that is not mounted.

    Raises OSError: EBUSY when another process has it, EPERM when the file is not ours alone,
    ENOENT.

    A record lock: it belongs to this process, so children that are forked do not keep it, and NFS
    servers know it. Only one such descriptor at a time in a process.
    """
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | (os.O_CREAT if make else 0)
    try:
        # Any descriptor of it that is closed afterwards would end the lock.
        descriptor = out_of_the_way(os.open(FILE_NAME, flags, 0o600, dir_fd=directory))
    except FileNotFoundError as error:
        words = f"{path} holds no history (is its disk mounted?)"
        raise OSError(errno.ENOENT, words) from error
    try:
        status = os.fstat(descriptor)
        ours = status.st_uid == os.geteuid() and not stat.S_IMODE(status.st_mode) & 0o077
        if not stat.S_ISREG(status.st_mode) or not ours:
            raise OSError(errno.EPERM, f"{path / FILE_NAME} is not ours alone")
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                words = f"the history in {path} is written by another gate"
                raise OSError(errno.EBUSY, words) from error
            raise
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def is_marked(fence: int) -> bool:
    """Whether there was a segment in that directory. Raises OSError."""
    return os.fstat(fence).st_size > 0


def mark_fence(fence: int) -> None:
    """There is a segment now. A disk that does not take it is found soon enough by others."""
    with suppress(OSError):
        os.pwrite(fence, MARK, 0)
        os.fsync(fence)


def unmark_fence(fence: int) -> None:
    """A history is begun where there is none. Raises OSError."""
    os.ftruncate(fence, 0)
