"""When a leg counts as getting worse, before it fails: from histograms of its times, and from how
often it failed and came back. Pure.

A leg is compared with the other legs of its volume, which get the same writes and flushes at the
same moment: load, a full page cache, a busy host and another kind of work make all of them slow
(Perseus, FAST 2023, and OpenZFS's slow-disk detection compare with siblings for the same reason).
And with itself: a slow disk beside a fast one is as it ever was. What is compared is the time in
which nine of ten requests are done, in a window of ten minutes: neither one request that stood
still, nor ten of a hundred, change it.

Invariants: a leg is judged only when `LEAST_WINDOWS` of it are known, and told only after
`WORSE_WINDOWS` in a row that are worse than any level that ever lasted; what was slow and became as
before by itself is known from then on, and told no more (a nightly job that only one of the legs
feels). No clock enters: windows count only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from holdfast.late_dataclass import dataclass

WINDOW_SECONDS = 600.0
LEAST_REQUESTS = 100
"""Of each leg in a window, for nine of ten to mean anything: ten are slower."""

LEAST_WINDOWS = 144
"""A day of windows with work: nightly jobs were among them."""

WORSE_WINDOWS = 3
"""In a row. A level that lasted for fewer is no level: a rebuild, a suspended process, a cable."""

SHARE = 0.9

PER_DOUBLING = 4
"""Levels are quarters of a doubling."""

WORSE_BY = 2 * PER_DOUBLING
"""Four times as slow: two steps of the gate's histogram, whose error is less than one step for each
of the two legs that are compared."""

LEAST_SECONDS = 0.02
"""Below nothing is told: two turns of a disk. Nobody replaces one for that."""

_HALVED_WINDOWS = 1008
"""A week: then what was counted counts half, so that an old level is forgotten in two or three."""

MOST_CORRECTED, CORRECTED_SECONDS = 20, 3600.0
"""Places that could not be read, from when on Linux's md takes a disk for bad, too
(max_corrected_read_errors, drivers/md/md.c: 20 an hour)."""

MOST_FAILURES, FAILURES_SECONDS = 3, 86400.0
"""A leg that failed three times in a day and came back has not been mended by coming back. As many
as attempts (policy.unattended)."""

Levels = tuple[tuple[int, int], ...]
"""A level, and how many windows had it."""


@dataclass(frozen=True)
class LegTrend:
    """What is known of one kind of requests of one leg."""

    own: Levels = ()
    """How long it took, as `level_of`."""
    beside: Levels = ()
    """How much longer than the others of its volume: differences of levels."""
    counted: int = 0
    """Windows, since they were halved last."""
    worse: tuple[tuple[int, int], ...] = ()
    """The last windows in a row that were worse than what ever lasted: both levels."""
    better: int = 0
    """Windows in a row that were not, while it is slow."""
    is_slow: bool = False


def level_of(seconds: float) -> int:
    """Quarters of a doubling, counted from a microsecond."""
    return round(PER_DOUBLING * math.log2(max(seconds, 1e-6) * 1e6))


def seconds_of(level: int) -> float:
    """The time of that level."""
    return float(1e-6 * 2.0 ** (level / PER_DOUBLING))


def lasting(levels: Levels) -> int | None:
    """The highest level that lasted: as many windows as are told were no lower; None: none."""
    windows = 0
    for level, count in sorted(levels, reverse=True):
        windows += count
        if windows >= WORSE_WINDOWS:
            return level
    return None


def after_window(course: LegTrend, own_seconds: float, other_seconds: float) -> LegTrend:
    """After another window with work. `other_seconds`: of the others, the middle one."""
    own = level_of(own_seconds)
    beside = own - level_of(other_seconds)
    if not _is_worse(course, own, beside, own_seconds):
        return _as_ever(course, own, beside)
    worse = (*course.worse, (own, beside))[-_HALVED_WINDOWS:]
    is_slow = course.is_slow or len(worse) >= WORSE_WINDOWS
    return LegTrend(course.own, course.beside, course.counted, worse, 0, is_slow)


def _is_worse(course: LegTrend, own: int, beside: int, own_seconds: float) -> bool:
    before, beside_before = lasting(course.own), lasting(course.beside)
    if before is None or beside_before is None or own_seconds < LEAST_SECONDS:
        return False
    if sum(count for _, count in course.own) < LEAST_WINDOWS:
        return False
    return own >= before + WORSE_BY and beside >= beside_before + WORSE_BY


def _as_ever(course: LegTrend, own: int, beside: int) -> LegTrend:
    """After a window that was not worse. What was, is a level only when it ended so."""
    better = course.better + 1
    if course.is_slow and better < WORSE_WINDOWS:
        return LegTrend(course.own, course.beside, course.counted, course.worse, better, True)
    past = (*course.worse, (own, beside))
    known, known_beside, counted = course.own, course.beside, course.counted
    for own_level, beside_level in past:
        known, known_beside = _counted(known, own_level), _counted(known_beside, beside_level)
        counted += 1
    if counted >= _HALVED_WINDOWS:
        known, known_beside, counted = _halved(known), _halved(known_beside), 0
    return LegTrend(known, known_beside, counted)


def _counted(levels: Levels, level: int) -> Levels:
    found = dict(levels)
    found[level] = found.get(level, 0) + 1
    return tuple(sorted(found.items()))


def _halved(levels: Levels) -> Levels:
    return tuple((level, count // 2) for level, count in levels if count // 2)


def in_words(kind: str, course: LegTrend) -> str:
    """What is told of a leg that is slow."""
    own, beside = course.worse[-1]
    before = seconds_of(lasting(course.own) or 0)
    return (
        f"it gets slow: nine of ten {_KINDS[kind]} take about {_time(seconds_of(own))} (before at"
        f" most {_time(before)}; its other legs {_time(seconds_of(own - beside))})"
    )


_KINDS = {
    "short-write": "short writes",
    "long-write": "long writes",
    "flush": "flushes",
}
JUDGED = tuple(_KINDS)
"""Kinds of requests that every leg gets. Reads go to one leg only: there is nothing to compare."""


def _time(seconds: float) -> str:
    """To the precision of a level: two digits."""
    rounded = float(f"{seconds:.2g}")
    return f"{rounded * 1e3:g} ms" if seconds < 1.0 else f"{rounded:g} s"


def failing_in_words(failures: Sequence[float], corrected: Sequence[float], now: float) -> str:
    """Why a leg that serves counts as failing; empty: it does not.

    Unix seconds at which it failed, and at which a place of it was read from another leg instead.
    """
    failed = sum(now - FAILURES_SECONDS < each <= now for each in failures)
    if failed >= MOST_FAILURES:
        return f"it failed {failed} times within a day, and came back each time"
    bad = sum(now - CORRECTED_SECONDS < each <= now for each in corrected)
    if bad >= MOST_CORRECTED:
        return f"{bad} places of it could not be read within an hour"
    return ""
