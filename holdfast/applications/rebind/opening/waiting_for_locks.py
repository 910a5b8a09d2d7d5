"""Waiting for a lock that somebody took while its owner stood still.

Who comes by path between the parking of the handles and the dismount finds the file without its
lock. He has it for a moment mostly, so he is waited for; nobody can be told to give it back.
Invariant: all locks together keep everybody waiting no longer than one user's processes may.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic_ns, sleep

_SHARE = 1 / 4
"""Of the time to the deadline, as in tracing.time_budget: whoever may read a file may lock it."""

_POLL_SECONDS = 0.005


def end_of_waiting(deadline_ns: int) -> int:
    """Until when locks are waited for from now on, in ns of CLOCK_MONOTONIC."""
    now_ns = monotonic_ns()
    return now_ns + int(max(deadline_ns - now_ns, 0) * _SHARE)


def taken_in_time(take: Callable[[], bool], until_ns: int) -> bool:
    """Call it until it has taken the lock (True), or until then; once at least. Raises what it
    raises."""
    while not take():
        if monotonic_ns() >= until_ns:
            return False
        sleep(_POLL_SECONDS)
    return True
