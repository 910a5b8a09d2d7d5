"""Doctor: whether the wall clock can be trusted for the times on receipts."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterator

from holdfast.model.finding import Finding, Verdict

_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_TIMEX_BYTES = 256
"""More than sizeof(struct timex) on every architecture; `modes` = 0 makes the call read-only."""

_PROJECT_BEGAN = 1_735_689_600  # 2025-01-01: a clock before that was never set


def clock() -> Iterator[Finding]:
    """Receipts carry wall-clock times; order and durations come from the monotonic clock."""
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    libc = ctypes.CDLL(None, use_errno=True)
    state = libc.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    if time.time() < _PROJECT_BEGAN:
        yield Finding(
            "clock",
            Verdict.LIMITED,
            f"{now}: it was never set",
            "Receipts would carry wrong times; durations are right.",
            "Set the clock, then keep it with systemd-timesyncd or chrony.",
        )
    elif state == -1:
        found = os.strerror(ctypes.get_errno())
        yield Finding("clock", Verdict.OK, f"{now}; its synchronisation cannot be read: {found}")
    elif state == _TIME_ERROR:
        yield Finding(
            "clock",
            Verdict.LIMITED,
            f"{now}, not synchronised",
            "Times on receipts may differ from those of other hosts; durations are right.",
            "Run systemd-timesyncd or chrony.",
        )
    else:
        yield Finding("clock", Verdict.OK, f"{now}, synchronised")
