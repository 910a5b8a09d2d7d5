"""Entering other processes' mount namespaces, in expendable children only.

setns(2) moves the caller's root and working directory to the namespace's own root; with
CLONE_NEWNS it refuses processes with several threads, which a forked child never has. Must never
be called by a process that goes on afterwards.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_CLONE_NEWNS = 0x00020000
"""linux/sched.h; Python has os.setns and its flags from 3.12 on."""

_libc = ctypes.CDLL(None, use_errno=True)


def mount_namespace(pid: int) -> int:
    """Inode number of the mount namespace that a process or thread is in. Raises OSError."""
    return int(os.readlink(f"/proc/{pid}/ns/mnt")[len("mnt:[") : -1])  # noqa: PTH115 - often


def enter_mount_namespace(pid: int) -> None:
    """Move this (expendable, single-threaded) process there; it stands at the root then.

    Raises OSError: EPERM without CAP_SYS_ADMIN over it, ENOENT or ESRCH when the process ended.
    """
    descriptor = os.open(Path(f"/proc/{pid}/ns/mnt"), os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(descriptor, _CLONE_NEWNS) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), f"/proc/{pid}/ns/mnt")
    finally:
        os.close(descriptor)
