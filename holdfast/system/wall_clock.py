"""adjtimex(2): what the kernel knows of its wall clock."""

from __future__ import annotations

import ctypes
import os

_LIBC = ctypes.CDLL(None, use_errno=True)
_TIME_ERROR = 5
"""adjtimex(2): the clock is not synchronised."""
_TIMEX_BYTES = 256
"""More than sizeof(struct timex) on every architecture; `modes` = 0 makes the call read-only."""


def is_clock_synchronised() -> bool:
    """Whether something (NTP, PTP) keeps the wall clock right. Raises OSError."""
    state = _LIBC.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    if state < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return bool(state != _TIME_ERROR)
