"""Points in time and durations, as people read and compare them. Pure."""

from __future__ import annotations

from datetime import UTC, datetime


def time_text(seconds: float) -> str:
    """A point in time in UTC with milliseconds."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{moment.microsecond // 1000:03d}"


def milliseconds_text(milliseconds: float) -> str:
    """A duration as people compare it: 0.4 ms, 12.5 ms, 3.2 s, 10 min 5 s."""
    if milliseconds < 1000:
        return f"{milliseconds:.1f} ms"
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"
