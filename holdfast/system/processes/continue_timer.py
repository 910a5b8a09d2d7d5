"""A process that continues itself when it was stopped: by a timer of its own in the kernel.

For a process that must never stand still for long, and whose guardians may be stopped or dead too.
Generating SIGCONT continues a stopped process whatever becomes of the signal (signal(7)), and a
timer needs nobody who runs. A debugger's stop is not ended.
"""

from __future__ import annotations

import ctypes
import os
import signal
from time import CLOCK_MONOTONIC

_LIBC = ctypes.CDLL(None, use_errno=True)
_SIGEV_SIGNAL = 0  # <bits/sigevent-consts.h>


class _Event(ctypes.Structure):
    """struct sigevent of <signal.h>, 64 bytes."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("padding", ctypes.c_int * 12),
    )


class _Specification(ctypes.Structure):
    """struct itimerspec of <time.h>: the interval (0: once), and when first."""

    _fields_ = (
        ("interval_seconds", ctypes.c_long),
        ("interval_nanoseconds", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("nanoseconds", ctypes.c_long),
    )


class ContinueTimer:
    """A timer of the process that makes it; a fork has none. Raises OSError (EAGAIN, ENOMEM)."""

    def __init__(self, seconds: float) -> None:
        self._timer = ctypes.c_void_p()
        event = _Event(None, signal.SIGCONT, _SIGEV_SIGNAL)
        _check(_LIBC.timer_create(CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(self._timer)))
        self._specification = _Specification(0, 0, int(seconds), int(seconds % 1 * 1e9))
        self.restart()

    def restart(self) -> None:
        """Continue this process so long from now. Call it more often than that. Never blocks.

        Once each time, not periodically: a signal that is ignored, as it is by one that runs,
        ends a periodic timer on Linux 6.13 and later.
        """
        self._set(self._specification)

    def stop(self) -> None:
        """Do not continue it any more, unless `restart` is called. Never blocks."""
        self._set(_Specification())

    def _set(self, specification: _Specification) -> None:
        _check(_LIBC.timer_settime(self._timer, 0, ctypes.byref(specification), None))


def _check(result: int) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
