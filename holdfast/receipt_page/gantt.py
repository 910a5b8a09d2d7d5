"""Steps as bars on a common time line: one SVG, as wide as there is room. Pure.

Lengths along the line are percentages, so that text keeps its size on a phone. Colours are classes:
`look.css` has them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from holdfast.late_dataclass import dataclass
from holdfast.model.time_text import milliseconds_text
from holdfast.receipt_page.html import Html, element, joined

_ROW_PIXELS, _HEAD_PIXELS = 40, 26
_BAR_TOP, _BAR_PIXELS, _TEXT_BASE = 19, 10, 13
"""Within a row: the bar lies below its name."""

_LEAST_PERCENT = 0.4
"""Of the line's length, for what took no time that can be seen."""

_MOST_TICKS = 5
"""Beside the first: on a phone their labels still have room."""


@dataclass(frozen=True)
class Bar:
    """Something that took time."""

    name: str
    started: float
    """Seconds, on the clock of all of them."""
    seconds: float
    words: str = ""
    """What is told of it besides."""
    kind: str = "step"
    """step · failed · wait."""


@dataclass(frozen=True)
class BarSpan:
    """What of the clock is shown."""

    begin: float
    end: float

    @property
    def seconds(self) -> float:
        """Never 0: there is always something to divide by."""
        return max(self.end - self.begin, 1e-6)

    def percent(self, moment: float) -> float:
        """Where that is on the line, 0 to 100."""
        return min(100.0, max(0.0, (moment - self.begin) / self.seconds * 100))


def span_of(bars: Sequence[Bar]) -> BarSpan:
    """From the first beginning to the last end."""
    return BarSpan(
        min((bar.started for bar in bars), default=0.0),
        max((bar.started + bar.seconds for bar in bars), default=0.0),
    )


def gantt(bars: Sequence[Bar], span: BarSpan, title: str) -> Html:
    """The picture: each bar in a row of its own, with its name and how long it took."""
    height = _HEAD_PIXELS + _ROW_PIXELS * len(bars)
    rows = [_row(bar, span, _HEAD_PIXELS + _ROW_PIXELS * at) for at, bar in enumerate(bars)]
    words = "; ".join(f"{bar.name} {milliseconds_text(bar.seconds * 1000)}" for bar in bars)
    return element(
        "svg",
        element("title", f"{title}: {words}"),
        _grid(span, height),
        *rows,
        class_="gantt",
        role="img",
        width="100%",
        height=height,
        xmlns="http://www.w3.org/2000/svg",
    )


def _row(bar: Bar, span: BarSpan, top: int) -> Html:
    begin, end = span.percent(bar.started), span.percent(bar.started + bar.seconds)
    width = max(end - begin, _LEAST_PERCENT)
    begin = min(begin, 100 - width)
    took = milliseconds_text(bar.seconds * 1000)
    after = milliseconds_text(max(0.0, bar.started - span.begin) * 1000)
    told = f"{bar.name}: after {after}, took {took}" + (f": {bar.words}" if bar.words else "")
    return element(
        "g",
        element("title", told),
        element("text", bar.name, x=0, y=top + _TEXT_BASE, class_="name"),
        element("text", took, x="100%", y=top + _TEXT_BASE, text_anchor="end", class_="took"),
        _bar("track", 0, 100, top),
        _bar(f"bar {bar.kind}", begin, width, top),
    )


def _bar(kind: str, begin: float, width: float, top: int) -> Html:
    return element(
        "rect",
        class_=kind,
        x=f"{begin:.3f}%",
        y=top + _BAR_TOP,
        width=f"{width:.3f}%",
        height=_BAR_PIXELS,
        rx=3,
    )


def _grid(span: BarSpan, height: int) -> Html:
    lines = []
    for seconds in ticks(span.seconds):
        at = f"{seconds / span.seconds * 100:.3f}%"
        anchor = "start" if seconds == 0 else "middle"
        lines.append(
            joined(
                element("line", x1=at, x2=at, y1=_HEAD_PIXELS - 8, y2=height, class_="grid"),
                element("text", _tick(seconds), x=at, y=11, text_anchor=anchor, class_="tick"),
            )
        )
    return joined(*lines)


def ticks(seconds: float) -> list[float]:
    """Round numbers of seconds from 0 on, so many that there is room; the last one is not at the
    very end, where its label would be cut."""
    least = seconds / _MOST_TICKS
    power = 10.0 ** math.floor(math.log10(least))
    step = next(power * each for each in (1, 2, 5, 10) if power * each >= least * (1 - 1e-9))
    count = math.floor(seconds * 0.94 / step)
    return [step * number for number in range(count + 1)]


def _tick(seconds: float) -> str:
    if seconds == 0:
        return "0"
    if seconds < 1:
        return f"{seconds * 1000:g} ms"
    return f"{seconds:g} s" if seconds < 120 else f"{seconds / 60:g} min"
