"""Points in time as a person types them, in the host's own time zone, and what lies between two.

Pure.
"""

from __future__ import annotations

import math
import re
from datetime import datetime, time, timedelta

from holdfast.errors import InvalidOption
from holdfast.late_dataclass import dataclass

_AGO = re.compile(
    r"(\d{1,6}(?:\.\d{1,3})?) ?"
    r"(s|m|h|d|w|secs?|seconds?|mins?|minutes?|hours?|days?|weeks?)(?: ago)?",
    re.ASCII,
)
_UNIT_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
"""By the first letter."""
_VANISHED = re.compile(r"before (.+) vanished", re.ASCII | re.DOTALL)
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

    `now`: Unix time in seconds that words are counted from. Raises InvalidOption, also for what
    the clocks of the host's zone never showed, or showed twice, as they are set twice a year.
    """
    words = " ".join(text.lower().split())
    try:
        return _moment(words, now)
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidOption(
            f"{text!r} is no point in time",
            "Write 10m ago, 14:02, yesterday 14:02:07 or 2026-11-28 14:02:07.",
        ) from error


def _moment(words: str, now: float) -> float:
    ago = _AGO.fullmatch(words)
    if ago is not None:
        # Not in local time: that has hours which are 0 or 120 minutes long.
        return datetime.fromtimestamp(now - float(ago[1]) * _UNIT_SECONDS[ago[2][0]]).timestamp()
    if words == "now":
        return now
    words = re.sub(r"(?<![^ ])(\d:)", r"0\1", words)
    words = re.sub(r" ?utc$", "z", words)
    day, _, clock = words.partition(" ")
    if day in _DAYS:
        return _unix(_on_day(now, _DAYS[day], clock), is_day=not clock)
    if ":" in day and "-" not in day:
        return _unix(_on_day(now, 0, words))
    return _unix(datetime.fromisoformat(words.upper()), is_day=":" not in words)


def _on_day(now: float, before: int, text: str) -> datetime:
    clock = time.fromisoformat(text.upper()) if text else time()
    today = datetime.fromtimestamp(now, clock.tzinfo).date()
    return datetime.combine(today - timedelta(days=before), clock)


def _unix(found: datetime, *, is_day: bool = False) -> float:
    """Raises InvalidOption where local time does not say which moment is meant."""
    if found.tzinfo is not None:
        return found.timestamp()
    first, second = (found.replace(fold=fold).timestamp() for fold in (0, 1))
    if first == second or is_day:
        return first
    words = found.isoformat(" ")
    if first > second:
        raise InvalidOption(
            f"the clocks here never showed {words}: they were set forward",
            f"Name another one: {in_full(second)}, or {in_full(first)}.",
        )
    raise InvalidOption(
        f"the clocks here showed {words} twice: they were set back",
        f"Say which one: {in_full(first)}, or {in_full(second)}.",
    )


def vanished_path(text: str) -> str:
    """PATH of `before PATH vanished`: the last moment at which that was there; else nothing."""
    found = _VANISHED.fullmatch(text)
    return found[1] if found is not None else ""


def in_full(seconds: float) -> str:
    """Local time with its distance from UTC, as `parse_moment` reads it."""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(" ")
