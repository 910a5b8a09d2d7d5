"""Calling listen(2) and connect(2) so that the other end sees who called it before: SO_PEERCRED.

The kernel notes number, user and groups of whoever calls them, unix(7). For expendable children:
what this gives up is not got back.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from holdfast.system.raw_call import raw_call

_CLONE3 = 435
"""The same number on every architecture; with a number for the child since Linux 5.5."""
_ARGUMENTS = struct.Struct("=10Q")
"""struct clone_args of <linux/sched.h>, version 1."""


def listen_as(
    end: socket.socket, backlog: int, process: int, user: int, group: int, groups: Sequence[int]
) -> None:
    """Let a process of this number call it where the number is free, else any; with these rights.

    Raises OSError.
    """
    _as_caller(partial(end.listen, backlog), process, user, group, groups)


def connect_as(
    end: socket.socket, path: str, process: int, user: int, group: int, groups: Sequence[int]
) -> None:
    """As `listen_as`, for connect(2) to the socket at this path. Raises OSError."""
    _as_caller(partial(end.connect, path), process, user, group, groups)


def _as_caller(
    work: Callable[[], None], process: int, user: int, group: int, groups: Sequence[int]
) -> None:
    child = fork_as(process) if process > 0 else -1
    if child > 0:
        os.waitpid(child, 0)
        return
    try:
        os.setgroups(groups)
        os.setegid(group)
        os.seteuid(user)
        work()
    finally:
        if child == 0:
            os._exit(0)


def fork_as(process: int) -> int:
    """Fork a child of this number: as fork(2); -1 when the number is not free. It is to end with
    os._exit."""
    number = ctypes.c_int(process)
    numbers = ctypes.addressof(number)
    arguments = _ARGUMENTS.pack(0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, numbers, 1)
    with suppress(OSError):
        return raw_call(_CLONE3, arguments, ctypes.c_size_t(len(arguments)))
    return -1
