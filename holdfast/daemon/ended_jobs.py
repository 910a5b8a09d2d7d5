"""Whether a job that the daemon began has ended; it is never waited for."""

from __future__ import annotations

from typing import Any

from holdfast.jobs import Job


def has_ended(job: Job[Any]) -> bool:
    """Whether it has; reads what it says, so that it never waits for us."""
    try:
        while job.next_event(0.0) is not None:
            pass
    except TimeoutError:
        return False
    return True
