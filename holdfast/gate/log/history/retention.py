"""Which segments of a history are not needed any more. Pure.

Whole segments go, from the oldest end, never the newest one. Age is counted by how long the history
was kept (`lived`), not by a clock that people set.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from holdfast.gate.log.history.layout import SegmentPage


class KeptSegment(NamedTuple):
    """One file of a history."""

    name: str
    page: SegmentPage
    size_bytes: int


def superfluous(
    segments: Sequence[KeptSegment], lived_ns: int, keep_ns: int, limit_bytes: int
) -> int:
    """How many of these, which are in order, may go: all whose successor is older than `keep_ns`,
    and as many as are needed for the limit. 0 is no limit, for either."""
    count = 0
    total = sum(segment.size_bytes for segment in segments)
    for segment, after in pairwise(segments):
        is_old = keep_ns > 0 and after.page.lived_ns <= lived_ns - keep_ns
        if not is_old and not (limit_bytes and total > limit_bytes):
            break
        total -= segment.size_bytes
        count += 1
    return count
