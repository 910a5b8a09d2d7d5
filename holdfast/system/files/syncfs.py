"""syncfs(2): a file system writes what it has not written yet."""

from __future__ import annotations

import ctypes
import os

_LIBC = ctypes.CDLL(None, use_errno=True)


def sync_file_system(descriptor: int) -> None:
    """Write everything of the file system that this descriptor is open on; durable on return.

    Not an O_PATH descriptor (EBADF). Blocks as long as the storage does. Raises OSError, also for
    an earlier write-back that failed (since Linux 5.8).
    """
    if _LIBC.syncfs(descriptor) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
