"""Whether two processes or threads share something: kcmp(2).

Compares kernel objects by identity and changes nothing. Needs the right to trace both.
"""

from __future__ import annotations

import ctypes
import os
import struct
from enum import IntEnum

from holdfast.system.raw_call import raw_call

_NUMBERS = {"x86_64": 312, "aarch64": 272, "riscv64": 272}
"""arch/x86/entry/syscalls/syscall_64.tbl; include/uapi/asm-generic/unistd.h."""


class Shared(IntEnum):
    """What is compared: enum kcmp_type, linux/kcmp.h."""

    FILE = 0
    """The open file descriptions behind two descriptors."""
    MEMORY = 1
    DESCRIPTORS = 2
    """The tables of descriptors."""
    DIRECTORIES = 3
    """Working directory and root."""


_EPOLL_TARGET = 7  # KCMP_EPOLL_TFD
_SLOT = struct.Struct("=III")
"""struct kcmp_epoll_slot: descriptor of the instance, number that it waits for, which of those."""


def is_shared(what: Shared, first: int, second: int, one: int = 0, other: int = 0) -> bool:
    """Whether two processes or threads share it; `one` and `other` are descriptors, for FILE.

    Raises OSError: ESRCH when one has ended, EBADF, EPERM, ENOSYS (kernel without kcmp).
    """
    return order(what, first, second, one, other) == 0


def order(what: Shared, first: int, second: int, one: int = 0, other: int = 0) -> int:
    """0: shared; -1 or 1: which comes first in an order that lasts as long as both objects do.

    For sorting many, as kcmp(2) recommends. Raises OSError as `is_shared`.
    """
    arguments = [ctypes.c_long(value) for value in (first, second, what, one, other)]
    result = raw_call(_number(), *arguments, about=f"kcmp of {first} and {second}")
    return {0: 0, 1: -1, 2: 1}.get(result, 1)


def waits_for(task: int, instance: int, number: int, place: int) -> bool:
    """Whether what an epoll instance of a task waits for is what its descriptor leads to now.

    `place`: which one of those that were registered by this number, in the order of fdinfo. Raises
    OSError as `is_shared`, ENOENT when there are not so many.
    """
    slot = _SLOT.pack(instance, number, place)
    arguments = [ctypes.c_long(value) for value in (task, task, _EPOLL_TARGET, number)]
    return raw_call(_number(), *arguments, slot, about=f"kcmp of {task}") == 0


def _number() -> int:
    number = _NUMBERS.get(os.uname().machine)
    if number is None:
        raise OSError(38, "kcmp is not known on this machine")
    return number
