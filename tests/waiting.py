"""Waiting for a condition instead of sleeping: `wait_until`."""

from __future__ import annotations

import time
from collections.abc import Callable

_STEP_SECONDS = 0.005


def wait_until(
    condition: Callable[[], bool],
    what: str = "it did not happen in time",
    *,
    timeout_seconds: float = 60.0,
) -> None:
    """Poll until the condition holds; fails the test with `what` when it does not in time."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(_STEP_SECONDS)
