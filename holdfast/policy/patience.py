"""When a child that waits for storage counts as hanging, and when the host is only slow. Pure.

Invariants: time in which the child ran, was ready to run, or was stopped counts for nothing (a busy
host, a suspended process); nor does time in which the device finished anything (slow storage, a
cache that is written back); and of a long pause between two looks (we were suspended) only little.
"""

from __future__ import annotations

from holdfast.late_dataclass import dataclass

HUNG_SECONDS = 30.0
"""In which a device that has been asked finishes nothing. Disks give up a sector after 7 to 30 s,
and a bus is reset within that time."""

MOST_SECONDS = 10.0
"""That one look may count for."""

_WAITING = ("D", "S")
"""States of proc_pid_stat(5): waits for storage, or for a server (FUSE)."""


@dataclass(frozen=True)
class Waited:
    """How long a child has waited with nothing happening."""

    seconds: float = 0.0
    finished: int | None = None
    """Requests that the device had finished; None: it is no device."""


def waited(before: Waited, gap_seconds: float, state: str, finished: int | None) -> Waited:
    """After another look, so long after the last one, at a child that has not come further."""
    if finished is not None and finished != before.finished:
        return Waited(0.0, finished)
    if state not in _WAITING:
        return before
    return Waited(before.seconds + min(gap_seconds, MOST_SECONDS), finished)
