"""Points in time as a person types them, in the host's own time zone, and what lies between two.

Pure.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from holdfast.errors import InvalidOption

_AGO = re.compile(r"(\d{1,6})\s*(s|m|h|d|w)(?:\s+ago)?", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DAYS = {"today": 0, "yesterday": 1}


@dataclass(frozen=True)
class Timespan:
    """From one point in time up to, and without, another; Unix seconds."""

    since: float = -math.inf
    until: float = math.inf


ALWAYS = Timespan()


def parse_moment(text: str, now: float) -> float:
    """Unix time in seconds of `10m ago`, `14:02:07`, `yesterday 14:02`, `2026-11-28 14:02:07`, or
    of that with a time zone (`2026-11-28T14:02:07Z`); a day alone is its beginning.

    `now`: Unix time in seconds that words are counted from. Raises InvalidOption.
    """
    words = " ".join(text.lower().split())
    ago = _AGO.fullmatch(words)
    if words == "now":
        return now
    try:
        if ago is not None:  # of seconds that passed, not of what clocks showed
            then = now - timedelta(**{_UNITS[ago[2]]: int(ago[1])}).total_seconds()
            return datetime.fromtimestamp(then).timestamp()
        found = _moment(words, datetime.fromtimestamp(now))
        first, second = (found.replace(fold=fold).timestamp() for fold in (0, 1))
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidOption(
            f"{text!r} is no point in time",
            "Write 10m ago, 14:02, yesterday 14:02:07 or 2026-11-28 14:02:07.",
        ) from error
    if first != second:  # summer time begins or ends there
        raise InvalidOption(
            f"clocks showed {text!r} twice that day, or not at all",
            "Write it with its distance from UTC: 2026-10-25T02:30:00+02:00.",
        )
    return first


def _moment(words: str, now: datetime) -> datetime:
    day, _, clock = words.partition(" ")
    if day in _DAYS:
        return datetime.combine(_day(now, _DAYS[day]), _clock(clock))
    if ":" in day and "-" not in day:
        return datetime.combine(_day(now, 0), _clock(words))
    return datetime.fromisoformat(words.upper())


def _day(now: datetime, before: int) -> date:
    return now.date() - timedelta(days=before)


def _clock(text: str) -> time:
    return time.fromisoformat(text) if text else time()
