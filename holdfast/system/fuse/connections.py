"""FUSE connections from outside: how many requests wait for their server, and ending them.

A connection is named by the device number of its file system, which the kernel gives out again:
the caller must know that it is still that file system's. Works in expendable children, which mount
fusectl for themselves where the host has not mounted it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from pathlib import Path

from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.mounts.visitor import Visitor

_ABORT_SECONDS = 20.0
"""It waits for nobody but the processor."""


_CONNECTIONS = "/sys/fs/fuse/connections"


_MINOR_BITS = 20  # <linux/kdev_t.h>


def abort_connection(device_number: str) -> None:
    """As `abort`, by the number of the file system, which must be known to be still that one's.

    Raises HoldfastError, OSError.
    """
    in_expendable_child(partial(end_connection, connection_number(device_number)), _ABORT_SECONDS)


def waiting_requests(device_number: str) -> int:
    """How many requests have no answer; 0 when there is no such connection. As above."""
    return in_expendable_child(partial(_waiting, connection_number(device_number)), _ABORT_SECONDS)


def connection_number(device_number: str) -> int:
    """The name of a FUSE connection in fusectl: the kernel's dev_t of the super block."""
    major, _, minor = device_number.partition(":")
    return int(major) << _MINOR_BITS | int(minor)


def unanswered() -> dict[int, int]:
    """The user of each connection that has requests without an answer, by its name.

    The user is the one whose file system it is (user_id=, mount.fuse(8)), as this process's user
    namespace knows him. Only in a child, which mounts fusectl where the host has not done it.
    Raises OSError.
    """
    found = {}
    for entry in os.scandir(_control(0).parent):
        with suppress(OSError, ValueError):  # it has ended
            if entry.name.isdigit() and int(Path(entry.path, "waiting").read_text()):
                found[int(entry.name)] = entry.stat().st_uid
    return found


def end_connection(number: int) -> None:
    """As `abort_connection`, by its name; only in a child. Raises OSError.

    Without an entry in fusectl it is aborted, and nobody has it open.
    """
    folder = _control(number)
    if folder.exists():
        (folder / "abort").write_text("1")


def _waiting(number: int) -> int:
    """Ask fusectl, in the child."""
    with suppress(FileNotFoundError):
        return int((_control(number) / "waiting").read_text())
    return 0


def _control(number: int) -> Path:
    """The connection in fusectl, which the child mounts where the host has not done it."""
    folder = Path(_CONNECTIONS, str(number))
    if not folder.exists() and not folder.parent.is_mount():
        visitor = Visitor()
        visitor.retire()
        with suppress(FileNotFoundError):
            visitor.mount("fusectl", _CONNECTIONS, "fusectl")
    return folder
