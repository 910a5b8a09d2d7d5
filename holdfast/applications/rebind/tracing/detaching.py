"""Detaching from seized threads, those included that stop too late.

A thread can be detached from only while it is stopped (ptrace(2)). One that does not stop in time
is remembered, and detached from as soon as it has stopped.
"""

from __future__ import annotations

import time
from contextlib import suppress

from holdfast.system.processes import ptrace

LET_GO_SECONDS = 0.2
"""How long is waited, to detach from it, for a thread that has not stopped yet."""

_late: set[int] = set()
"""Threads that did not stop in time: they are detached from when they do."""


def detach(thread_id: int, timeout_seconds: float) -> bool:
    """Detach from a thread, stopped or about to stop; False when it does not stop in time."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        with suppress(ProcessLookupError):
            ptrace.detach(thread_id)
            return True
        stop = ptrace.wait_for_stop(thread_id, min(deadline, time.monotonic() + 0.05))
        if stop is None:  # or it is a main thread, which is reaped after the others
            if time.monotonic() >= deadline:
                return False
            continue
        if stop.ended:
            return True
        if stop.signal:
            run_and_interrupt(thread_id, stop.signal)


def run_and_interrupt(thread_id: int, deliver: int) -> None:
    """Let a thread run that stopped for something else: any stop takes an interruption away."""
    ptrace.run(thread_id, deliver)
    with suppress(ProcessLookupError):  # it has ended: the next wait says so
        ptrace.interrupt(thread_id)


def detach_later(thread_id: int) -> None:
    """Remember a thread that has not stopped in time; `detach_late_threads` detaches from it."""
    _late.add(thread_id)


def detach_late_threads() -> None:
    """Detach from threads that stopped only after we had given them up. Does not block."""
    for thread_id in list(_late):
        if detach(thread_id, 0.0):
            _late.discard(thread_id)
