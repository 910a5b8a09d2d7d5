"""Doctor: whether the wall clock can be trusted for the times on receipts."""

from __future__ import annotations

import time
from collections.abc import Iterator

from holdfast.model.finding import Finding, Verdict
from holdfast.system.wall_clock import is_clock_synchronised

_PROJECT_BEGAN = 1_735_689_600  # 2025-01-01: a clock before that was never set


def clock() -> Iterator[Finding]:
    """Receipts carry wall-clock times; order and durations come from the monotonic clock."""
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    if time.time() < _PROJECT_BEGAN:
        yield Finding(
            "clock",
            Verdict.LIMITED,
            f"{now}: it was never set",
            "Receipts would carry wrong times; durations are right.",
            "Set the clock, then keep it with systemd-timesyncd or chrony.",
        )
        return
    try:
        synchronised = is_clock_synchronised()
    except OSError as error:
        words = f"{now}; its synchronisation cannot be read: {error.strerror}"
        yield Finding("clock", Verdict.OK, words)
        return
    if synchronised:
        yield Finding("clock", Verdict.OK, f"{now}, synchronised")
    else:
        yield Finding(
            "clock",
            Verdict.LIMITED,
            f"{now}, not synchronised",
            "Times on receipts may differ from those of other hosts; durations are right.",
            "Run systemd-timesyncd or chrony.",
        )
