"""System calls that neither Python nor the C library of older hosts has: `raw_call`.

Owns the way into the kernel by number, and how it reports failure; the numbers belong to whoever
calls. Must never be given a number of another architecture.
"""

from __future__ import annotations

import ctypes
import os

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long


def raw_call(number: int, *arguments: object, about: str = "") -> int:
    """Make a system call and return its result; raises OSError with `about` as its file name.

    An int is passed as a C int: give what is wider or unsigned as a ctypes value. Bytes are passed
    by address, None is a null pointer.
    """
    result = int(_LIBC.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), *filter(None, [about]))
    return result
