"""Namespaces of other processes: their numbers, and entering them in expendable children only.

For a mount namespace setns(2) moves the caller's root and working directory to the namespace's own
root; it refuses processes with several threads, which a forked child never has. Entering must never
be done by a process that goes on afterwards.
"""

from __future__ import annotations

import ctypes
import os

_CLONE_NEWNS = 0x00020000
_CLONE_NEWNET = 0x40000000
"""linux/sched.h; Python has os.setns and their flags from 3.12 on."""

_libc = ctypes.CDLL(None, use_errno=True)


def mount_namespace(pid: int) -> int:
    """Inode number of the mount namespace that a process or thread is in. Raises OSError."""
    return namespace_of(pid, "mnt")


def namespace_of(pid: int, kind: str) -> int:
    """Inode number of a namespace (`mnt`, `net`, `pid` … of /proc/PID/ns). Raises OSError."""
    target = os.readlink(f"/proc/{pid}/ns/{kind}")  # noqa: PTH115 - thousands of times
    return int(target[target.index("[") + 1 : -1])


def enter_mount_namespace(pid: int) -> None:
    """Move this (expendable, single-threaded) process there; it stands at the root then.

    Raises OSError: EPERM without CAP_SYS_ADMIN over it, ENOENT or ESRCH when the process ended.
    """
    descriptor = open_namespace(pid, "mnt")
    try:
        _enter(descriptor, _CLONE_NEWNS)
    finally:
        os.close(descriptor)


def open_namespace(pid: int, kind: str) -> int:
    """A descriptor of a namespace, which keeps it and its number; caller closes. Raises OSError."""
    return os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)


def keep_mount_namespace() -> int:
    """A descriptor that keeps this process's mount namespace until the process has ended.

    Whoever ends last in a mount namespace dismounts everything in it, and a process does that
    before it lets go of its descriptors. With this one, which nobody shares, all its others are
    closed first (0013 in docs/decisions). Raises OSError.
    """
    return os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)


def enter_network_namespace(descriptor: int) -> None:
    """Move this (expendable) thread there. Raises OSError as for a mount namespace."""
    _enter(descriptor, _CLONE_NEWNET)


def _enter(descriptor: int, kind: int) -> None:
    if _libc.setns(descriptor, kind) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "setns")


def shares_clocks(pid: int) -> bool:
    """Whether a process is in our time namespace (time_namespaces(7)); True where none exist."""
    try:
        return os.readlink(f"/proc/{pid}/ns/time") == os.readlink("/proc/self/ns/time")  # noqa: PTH115
    except OSError:
        return True
