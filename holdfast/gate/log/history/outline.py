"""What a history can be brought to, as the first pages of its segments tell. Pure.

Nothing behind a first page is looked at: damage within a segment is found by whoever reads it
(`reading.stretches`).
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.gate.log.history.layout import SegmentPage
from holdfast.model.history import HistoryStretch

_SECOND_NS = 1e9


def outline(pages: Sequence[SegmentPage]) -> list[HistoryStretch]:
    """The stretches between gaps, oldest first; the pages are in order."""
    found: list[HistoryStretch] = []
    first: SegmentPage | None = None
    before: SegmentPage | None = None
    for page in pages:
        if first is None or before is None:
            first = before = page
            continue
        follows = page.follows == before.salt
        if not (follows and page.chained):
            reason = page.reason
            if not follows:
                reason = f"what was between segments {before.number} and {page.number} is missing"
            found.append(
                HistoryStretch(
                    first.base,
                    page.gap_from if follows else None,
                    first.begun_ns / _SECOND_NS,
                    (page.before_ns or before.begun_ns) / _SECOND_NS,
                    reason,
                    is_damaged=not follows,
                )
            )
            first = page
        before = page
    if first is not None:
        found.append(HistoryStretch(first.base, None, first.begun_ns / _SECOND_NS, None))
    return found
