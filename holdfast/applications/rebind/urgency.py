"""The agent while others stand still because of it: it does nothing that could wait.

Invariant: what was before is so again afterwards. Must never be used around anything that starts a
process which lives on for longer than a rebind.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_NICE = -19
"""Seventy times the share of a usual process (sched_prio_to_weight of kernel/sched/core.c): whoever
shares a processor with the agent still runs every few milliseconds, and the users stand less."""


@contextmanager
def urgently() -> Iterator[None]:
    """Collect no garbage, and come before others on a busy host if we may. Can be nested."""
    collects = gc.isenabled()
    before = os.getpriority(os.PRIO_PROCESS, 0)
    gc.disable()
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, min(before, _NICE))
    try:
        yield
    finally:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, before)
        if collects:
            gc.enable()
