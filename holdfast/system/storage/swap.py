"""Files that the kernel swaps to: which there are, off, and on again.

Owns swapon(2) and swapoff(2). Must never be called by a process that matters, but for `swap_areas`:
both may take long, and both touch storage.
"""

from __future__ import annotations

import ctypes
import os

from holdfast.system.proc import read
from holdfast.system.proc_text import Swap, parse_swaps

_PREFER, _PRIORITY_MASK = 0x8000, 0x7FFF  # <linux/swap.h>
_LIBC = ctypes.CDLL(None, use_errno=True)


def swap_areas() -> list[Swap]:
    """What the kernel swaps to now; does not block."""
    return parse_swaps(read("/proc/swaps"))


def switch_off(path: str) -> None:
    """swapoff(2): what is swapped out there is read back into memory first, which takes as long as
    it takes; a signal ends it, and the area stays in use. Raises OSError: ENOMEM without room."""
    _check(_LIBC.swapoff(os.fsencode(path)), path)


def switch_on(descriptor: int, priority: int) -> None:
    """swapon(2) of the very file that a descriptor is open at (O_PATH).

    `priority`: as /proc/swaps has it; a negative one is the kernel's own choice, and is chosen
    again. Raises OSError: EINVAL where it has holes, is copied on write or has no header.
    """
    flags = _PREFER | (priority & _PRIORITY_MASK) if priority >= 0 else 0
    _check(_LIBC.swapon(b"/proc/self/fd/%d" % descriptor, flags), "")


def _check(result: int, path: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
