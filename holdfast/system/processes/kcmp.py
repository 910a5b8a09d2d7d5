"""Whether two processes or threads share something: kcmp(2).

Compares kernel objects by identity and changes nothing. Needs the right to trace both.
"""

from __future__ import annotations

import ctypes
import os
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


def is_shared(what: Shared, first: int, second: int, one: int = 0, other: int = 0) -> bool:
    """Whether two processes or threads share it; `one` and `other` are descriptors, for FILE.

    Raises OSError: ESRCH when one has ended, EBADF, EPERM, ENOSYS (kernel without kcmp).
    """
    return order(what, first, second, one, other) == 0


def order(what: Shared, first: int, second: int, one: int = 0, other: int = 0) -> int:
    """0: shared; -1 or 1: which comes first in an order that lasts as long as both objects do.

    For sorting many, as kcmp(2) recommends. Raises OSError as `is_shared`.
    """
    number = _NUMBERS.get(os.uname().machine)
    if number is None:
        raise OSError(38, "kcmp is not known on this machine")
    arguments = [ctypes.c_long(value) for value in (first, second, what, one, other)]
    result = raw_call(number, *arguments, about=f"kcmp of {first} and {second}")
    return {0: 0, 1: -1, 2: 1}.get(result, 1)
