"""Waits until nobody waits for a child that runs no program of its own yet; nobody is stopped yet.

Who called vfork(2) or posix_spawn(3) stands in the kernel, where nothing stops it, until the child
calls execve(2) or ends: milliseconds, as a rule. One whose child does neither would be found when
all others stand already. Reads /proc only.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator

from holdfast.applications.rebind.tracing.hindrances import hindrance, unborn_child
from holdfast.errors import Blocked
from holdfast.system.processes.process_state import threads_of

WAIT_SECONDS = 5.0
"""A child that opens files for its program may wait for a busy disk."""

_LOOK_SECONDS = 0.005

_Birth = tuple[int, int, int]
"""Process, thread, and the child that it waits for."""


def await_births(pids: Collection[int], seconds: float) -> None:
    """Wait until none of these processes waits for a child that it waits for now.

    Who makes one child after the other is not waited for: it stops between two of them. Raises
    Blocked, which names the first that still waits after so many seconds.
    """
    deadline = time.monotonic() + seconds
    waiting = list(_births(pids))
    while waiting := [each for each in waiting if unborn_child(*each[:2]) == each[2]]:
        if time.monotonic() > deadline:
            pid, thread_id, _ = waiting[0]
            found = hindrance(pid, thread_id)
            raise Blocked(
                f"thread {thread_id} of process {pid} cannot be stopped: {found.words}", found.mend
            )
        time.sleep(_LOOK_SECONDS)


def _births(pids: Collection[int]) -> Iterator[_Birth]:
    for pid in pids:
        for thread_id in threads_of(pid):
            if child := unborn_child(pid, thread_id):
                yield pid, thread_id, child
