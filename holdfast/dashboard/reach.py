"""Which moments of a volume can be reached, for a time line and its slider. Pure.

A moment can be reached from a copy that is usable, was complete before it, and lies in the same
stretch of the history: docs/history.md. It is an estimate by clocks, for a person who chooses; the
command that is shown judges by positions, and refuses what cannot be done.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from holdfast.late_dataclass import dataclass
from holdfast.model.copy import CopyReport
from holdfast.model.history import HistoryReport, HistoryStretch
from holdfast.model.point import PointReport


@dataclass(frozen=True)
class Moments:
    """From one to another; Unix seconds."""

    begin: float
    end: float


@dataclass(frozen=True)
class LineMark:
    """Something at one moment of the line."""

    name: str
    kind: str
    """copy · point."""
    at: float
    percent: float


@dataclass(frozen=True)
class Line:
    """All of it: what was written, what can be reached, and what is marked on it."""

    begin: float
    end: float
    kept: tuple[tuple[float, float], ...]
    """Stretches of the history: begin and length in percent of the line."""
    reachable: tuple[tuple[float, float], ...]
    marks: tuple[LineMark, ...]
    moments: tuple[Moments, ...]
    """What can be reached, oldest first."""

    @property
    def moments_json(self) -> str:
        """For the slider: begin and end of each."""
        return json.dumps([[each.begin, each.end] for each in self.moments])

    @property
    def latest(self) -> float | None:
        """The last moment that can be reached; None: none can."""
        return self.moments[-1].end if self.moments else None


def line_of(
    history: HistoryReport,
    copies: Sequence[CopyReport],
    points: Sequence[PointReport],
    now: float,
) -> Line | None:
    """None: nothing is kept."""
    stretches = [_moments(each, now) for each in history.stretches]
    if not stretches:
        return None
    begin = min(each.begin for each in stretches)
    end = max(now, *(each.end for each in stretches), begin + 1.0)

    def percent(moment: float) -> float:
        return round(min(100.0, max(0.0, (moment - begin) / (end - begin) * 100)), 3)

    def lengths(moments: Sequence[Moments]) -> tuple[tuple[float, float], ...]:
        return tuple(
            (percent(each.begin), max(0.3, round(percent(each.end) - percent(each.begin), 3)))
            for each in moments
        )

    usable = [each.copy for each in copies if each.state == "usable"]
    reachable = []
    for stretch, kept in zip(history.stretches, stretches, strict=True):
        made = [
            copy.made
            for copy in usable
            if stretch.position <= copy.position
            and (stretch.end is None or copy.position <= stretch.end)
        ]
        if made and max(min(made), kept.begin) < kept.end:
            reachable.append(Moments(max(min(made), kept.begin), kept.end))
    marks = [LineMark(each.copy.url, "copy", each.copy.made, percent(each.copy.made))
             for each in copies if not each.copy.clone]  # fmt: skip
    marks += [LineMark(each.point.name, "point", each.point.made, percent(each.point.made))
              for each in points]  # fmt: skip
    return Line(begin, end, lengths(stretches), lengths(reachable), tuple(marks), tuple(reachable))


def _moments(stretch: HistoryStretch, now: float) -> Moments:
    end = now if stretch.ended is None else stretch.ended
    return Moments(stretch.begun, max(end, stretch.begun))
