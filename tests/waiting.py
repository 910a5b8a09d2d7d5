"""Waiting for a condition instead of sleeping: `wait_until`."""

from __future__ import annotations

import time
from collections.abc import Callable

_STEP_SECONDS, _LONGEST_SECONDS, _SHARE = 0.005, 0.05, 0.1


def wait_until(
    condition: Callable[[], bool],
    what: str = "it did not happen in time",
    *,
    timeout_seconds: float = 60.0,
) -> None:
    """Poll until the condition holds; fails the test with `what` when it does not in time."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < timeout_seconds, what
        time.sleep(step_after(time.monotonic() - begun))


def step_after(seconds: float) -> float:
    """How long to sleep before it is looked again: a tenth of what has been waited.

    Asking costs the processor time that whatever is waited for needs.
    """
    return min(_LONGEST_SECONDS, max(_STEP_SECONDS, seconds * _SHARE))
