"""A loop device with a number of its own: own_loop.

Must never import the code under test.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_ADD, _REMOVE = 0x4C80, 0x4C81  # LOOP_CTL_… of <linux/loop.h>
_FIRST_NUMBER = 4000


@contextmanager
def own_loop() -> Iterator[str]:
    """`/dev/loopN`, with nothing attached, that nobody gets who asks for a free one."""
    number = _FIRST_NUMBER + os.getpid()
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(control, _ADD, number)
        yield f"/dev/loop{number}"
    finally:
        with suppress(OSError):
            fcntl.ioctl(control, _REMOVE, number)
        os.close(control)
