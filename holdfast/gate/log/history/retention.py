"""Which segments of a history are not needed any more. Pure.

Whole segments go, from the oldest end, never the newest one. Age is counted by how long the history
was kept (`lived`), not by a clock that people set. What a copy that follows still needs does not go
for its age, but for the limit.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from holdfast.gate.log.history.layout import SegmentPage


class KeptSegment(NamedTuple):
    """One file of a history."""

    name: str
    page: SegmentPage
    size_bytes: int


def superfluous(
    segments: Sequence[KeptSegment],
    lived_ns: int,
    keep_ns: int,
    limit_bytes: int,
    needed: Sequence[int] = (),
) -> int:
    """How many of these, which are in order, may go: all whose successor is older than `keep_ns`,
    and as many as are needed for the limit. 0 is no limit, for either. `needed`: positions from
    which on all of it is needed, of which those count that lead to its end."""
    count = 0
    total = sum(segment.size_bytes for segment in segments)
    first = min((number for number, _ in _leading(segments, needed)), default=len(segments))
    for segment, after in pairwise(segments):
        is_old = keep_ns > 0 and after.page.lived_ns <= lived_ns - keep_ns and count < first
        if not is_old and not (limit_bytes and total > limit_bytes):
            break
        total -= segment.size_bytes
        count += 1
    return count


def lost_with(segments: Sequence[KeptSegment], count: int, needed: Sequence[int]) -> list[int]:
    """Which of these positions led to the end, and do not once so many segments are gone."""
    return [position for number, position in _leading(segments, needed) if number < count]


def _leading(segments: Sequence[KeptSegment], needed: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The positions from which an unbroken chain leads to the end, each with the number of the
    segment in which it lies."""
    pages = [segment.page for segment in segments]
    breaks = [
        number
        for number, (page, after) in enumerate(pairwise(pages), 1)
        if not after.chained or after.follows != page.salt
    ]
    begin = breaks[-1] if breaks else 0
    bases = [page.base for page in pages]
    for position in sorted(set(needed)):
        number = bisect_right(bases, position, lo=begin) - 1
        if number >= begin:
            yield number, position
