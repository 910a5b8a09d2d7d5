"""Times in which nothing that is not urgent happens by itself: read, checked, and when they are.

As a clock on the wall shows them in one time zone. So an hour that daylight saving leaves out is
never quiet, one that it shows twice is quiet twice, and a night that lasts an hour longer is quiet
for all of it. Pure, but for the zone of the host.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import datetime, tzinfo
from functools import lru_cache

from holdfast.errors import InvalidOption
from holdfast.late_dataclass import dataclass

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MINUTES = 24 * 60
_WEEK_MINUTES = 7 * _DAY_MINUTES
_SPAN = re.compile(
    rf"(?:(?P<first>{'|'.join(_DAYS)})(?:-(?P<last>{'|'.join(_DAYS)}))? +)?"
    r"(?P<begin>[0-9]{2}:[0-9]{2})-(?P<end>[0-9]{2}:[0-9]{2})",
    re.ASCII,
)
_MOST_SPANS = 20
_EXAMPLE = 'Write e.g. --quiet "22:00-06:00" or --quiet "mon-fri 20:00-07:00, sat-sun 00:00-24:00".'


@dataclass(frozen=True)
class QuietHours:
    """Of one volume."""

    text: str = ""
    """Spans of time, with commas between them: `DAYS HH:MM-HH:MM`. One that ends before it begins
    ends on the next day; days are those on which it begins. Empty: no time is quiet."""
    zone: str = ""
    """Name of a time zone, e.g. `Europe/Berlin`; empty: that of the host."""

    def __post_init__(self) -> None:
        """Raise InvalidOption for what is none, or would never end."""
        if len(_minutes(self.text)) == _WEEK_MINUTES:
            raise InvalidOption(
                f"the quiet hours {self.text} never end, and nobody would be told anything",
                "Leave some time in which messages arrive.",
            )

    def check_zone(self) -> None:
        """Raise InvalidOption for a time zone that this host does not know."""
        _zone(self.zone)

    def is_quiet(self, now: float) -> bool:
        """Whether that is in them. `now`: Unix seconds.

        Nothing is quiet in a time zone that the host does not know any more: somebody is told once
        too often then.
        """
        if not self.text:
            return False
        if not self.zone:
            time.tzset()  # the host may have moved since this process began
        try:
            local = datetime.fromtimestamp(now, _zone(self.zone))
        except InvalidOption:
            return False
        minute = (local.weekday() * 24 + local.hour) * 60 + local.minute
        return minute in _minutes(self.text)

    def __str__(self) -> str:
        if not self.text:
            return "none"
        return f"{self.text} ({self.zone or 'time of this host'})"


@lru_cache(maxsize=256)
def _minutes(text: str) -> frozenset[int]:
    """The minutes of a week, from Monday on, that are quiet. Raises InvalidOption."""
    spans = [each.strip() for each in text.split(",")] if text.strip() else []
    if len(spans) > _MOST_SPANS:
        raise InvalidOption(f"{len(spans)} spans of quiet hours are too many", _EXAMPLE)
    return frozenset(minute for span in spans for minute in _minutes_of(span))


def _minutes_of(span: str) -> Iterator[int]:
    match = _SPAN.fullmatch(span.lower())
    if match is None:
        raise InvalidOption(f"{span!r} is no span of quiet hours", _EXAMPLE)
    begin, end = _minute(match["begin"], span), _minute(match["end"], span)
    if begin in (end, _DAY_MINUTES):
        raise InvalidOption(f"{span!r} is no time at all", _EXAMPLE)
    first = _DAYS.index(match["first"]) if match["first"] else 0
    last = _DAYS.index(match["last"]) if match["last"] else first if match["first"] else 6
    length = end - begin if end > begin else end - begin + _DAY_MINUTES
    for day in range(first, last + 1 if last >= first else last + 8):
        start = day * _DAY_MINUTES + begin
        yield from (minute % _WEEK_MINUTES for minute in range(start, start + length))


def _minute(text: str, span: str) -> int:
    hours, minutes = int(text[:2]), int(text[3:])
    if minutes > 59 or hours * 60 + minutes > _DAY_MINUTES:
        raise InvalidOption(f"there is no {text} in {span!r}", _EXAMPLE)
    return hours * 60 + minutes


@lru_cache(maxsize=64)
def _zone(name: str) -> tzinfo | None:
    """None: that of the host. Raises InvalidOption."""
    if not name:
        return None
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (OSError, ValueError) as error:  # ZoneInfoNotFoundError is a KeyError
        raise _no_zone(name) from error
    except KeyError as error:
        raise _no_zone(name) from error


def _no_zone(name: str) -> InvalidOption:
    return InvalidOption(
        f"there is no time zone {name!r} on this host",
        "timedatectl list-timezones names those that there are (Debian: tzdata).",
    )
