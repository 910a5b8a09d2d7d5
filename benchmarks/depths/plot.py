"""A picture of requests at several depths: how many, beside the plain loop device, how long."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from benchmarks.depths.fio import Load
from benchmarks.depths.measure import Cell, Depths
from benchmarks.depths.subjects import DEPTH_SUBJECTS, FORMS, RAW
from benchmarks.depths.tables import loads_of
from benchmarks.subjects import COMPILED, NBDKIT, PLAIN

_GREY, _BLACK, _BROWN = "#8a8a8a", "#1a1a1a", "#a6761d"
# Okabe and Ito's colours, which those with colour blindness can tell apart.
_FORM_COLOURS = {
    (1, "none"): "#0072b2",
    (2, "none"): "#009e73",
    (1, "unflushed"): "#d55e00",
    (2, "unflushed"): "#cc79a7",
}
_WIDTH = 0.7
"""Of all that stands at one depth; depths are 1 apart."""
_DOTS_PER_INCH = 150
_THIN, _TEXT = "#d9d9d9", "#404040"


@dataclass(frozen=True)
class Style:
    """Colour: which subject; filled or hollow: compiled or Python."""

    colour: str
    filled: bool = True
    marker: str = "o"


def style_of(subject: str) -> Style:
    """How it looks everywhere."""
    if subject in FORMS:
        legs, journal, path = FORMS[subject]
        return Style(_FORM_COLOURS[legs, journal], path == COMPILED)
    return {
        RAW: Style(_GREY, marker="D"),
        PLAIN: Style(_BLACK, marker="s"),
        NBDKIT: Style(_BROWN, marker="^"),
    }[subject]


@dataclass(frozen=True)
class Point:
    """A figure of one subject at one depth."""

    depth: int
    middle: float
    low: float
    high: float
    beyond: float | None = None
    """Of a latency: p99.9."""


@dataclass(frozen=True)
class Row:
    """One kind of figure, in a row of panels."""

    label: str
    compared: bool = False
    """With the plain loop device, which is a line at 1 then."""
    latency: bool = False


ROWS = (
    Row("requests per second"),
    Row("ratio to the plain loop device", compared=True),
    Row("latency, µs: median, p99, p99.9", latency=True),
)


def points(depths: Depths, row: Row, cells: Sequence[Cell]) -> list[Point]:
    """One for each depth: the median of the rounds, whiskers over all of them.

    A latency's whisker goes from its median to p99, each the median of the rounds.
    """
    return [point for cell in cells for point in _points(depths, row, cell)]


def _points(depths: Depths, row: Row, cell: Cell) -> Iterator[Point]:
    depth, samples = cell.load.depth, depths.samples[cell]
    if row.latency:
        middle = statistics.median(sample.p50_us for sample in samples)
        high = statistics.median(sample.p99_us for sample in samples)
        beyond = statistics.median(sample.p999_us for sample in samples)
        yield Point(depth, middle, middle, high, beyond)
        return
    rates = [sample.per_second for sample in samples]
    values = depths.ratios(cell, PLAIN) if row.compared else rates
    if values:
        yield Point(depth, statistics.median(values), min(values), max(values))


def write(folder: Path, name: str, depths: Depths, facts: dict[str, Any]) -> None:
    """NAME.png and NAME.svg in `folder`, which is there."""
    figure = draw(depths, facts)
    for ending in ("png", "svg"):
        figure.savefig(folder / f"{name}.{ending}", dpi=_DOTS_PER_INCH)


def draw(depths: Depths, facts: dict[str, Any]) -> Figure:
    """A column of panels for each kind of request, a row for each kind of figure."""
    kinds = {
        name: list(loads)
        for name, loads in itertools.groupby(loads_of(depths), key=lambda load: load.name)
    }
    widths = [max(len(loads), 1.9) for loads in kinds.values()]
    figure = Figure(figsize=(1.5 + 1.8 * sum(widths), 13))
    figure.set_layout_engine("constrained", rect=(0.01, 0, 0.98, 0.91), w_pad=0.1, h_pad=0.12)
    grid = figure.subplots(len(ROWS), len(kinds), squeeze=False, sharey="row", width_ratios=widths)
    subjects = [name for name in DEPTH_SUBJECTS if any(c.subject == name for c in depths.samples)]
    for row, panels in zip(ROWS, grid, strict=True):
        for (kind, loads), panel in zip(kinds.items(), panels, strict=True):
            _axes(panel, row, loads)
            for turn, subject in enumerate(subjects):
                offset = (turn + 0.5) / len(subjects) * _WIDTH - _WIDTH / 2
                cells = [c for c in depths.samples if c.subject == subject and c.load in loads]
                _series(panel, points(depths, row, cells), loads, offset, subject)
            if row is ROWS[0]:
                panel.set_title(kind, fontsize=13, fontweight="bold", color=_TEXT, pad=10)
            if row is ROWS[-1]:
                panel.set_xlabel("requests at once", color=_TEXT)
        panels[0].set_ylabel(row.label, color=_TEXT, fontsize=11)
    figure.align_ylabels()
    _legend(figure, grid[0][0])
    figure.text(0.02, 0.982, _title(depths), fontsize=18, fontweight="bold", va="top")
    figure.text(0.02, 0.958, _subtitle(depths, facts), fontsize=10.5, color=_TEXT, va="top")
    return figure


def _axes(panel: Axes, row: Row, loads: Sequence[Load]) -> None:
    panel.set_yscale("log")
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    panel.yaxis.set_minor_formatter(NullFormatter())
    if row.compared:
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.axhline(1.0, color=_BLACK, linewidth=1.2, zorder=1)
    panel.set_xticks(range(len(loads)), [str(load.depth) for load in loads])
    panel.set_xlim(-0.5, len(loads) - 0.5)
    panel.tick_params(axis="x", length=0)
    panel.tick_params(axis="y", which="both", length=0)
    panel.grid(axis="y", which="major", color=_THIN, linewidth=0.8)
    panel.set_axisbelow(True)
    for place in range(1, len(loads)):
        panel.axvline(place - 0.5, color=_THIN, linewidth=0.8, zorder=0)
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.spines["bottom"].set_color(_TEXT)


def _series(
    panel: Axes, found: list[Point], loads: Sequence[Load], offset: float, subject: str
) -> None:
    places = {load.depth: place + offset for place, load in enumerate(loads)}
    style = style_of(subject)
    across = [places[point.depth] for point in found]
    panel.errorbar(
        across,
        [point.middle for point in found],
        yerr=[
            [point.middle - point.low for point in found],
            [point.high - point.middle for point in found],
        ],
        label=subject,
        color=style.colour,
        marker=style.marker,
        markersize=7,
        markerfacecolor=style.colour if style.filled else "white",
        markeredgewidth=1.5,
        linestyle="none",
        elinewidth=1.4,
        capsize=3,
        zorder=3,
    )
    beyond = [(x, point.beyond) for x, point in zip(across, found, strict=True) if point.beyond]
    if beyond:
        panel.plot(*zip(*beyond, strict=True), ".", color=style.colour, markersize=4, zorder=3)


def _legend(figure: Figure, panel: Axes) -> None:
    """The peers in a column of their own, a column for each journal."""
    handles, labels = panel.get_legend_handles_labels()
    entries = list(zip(handles, labels, strict=True))
    peers = [entry for entry in entries if entry[1] not in FORMS]
    forms = [entry for entry in entries if entry[1] in FORMS]
    blank = [(Line2D([], [], linestyle="none"), "")] * (len(forms) // 2 - len(peers))
    figure.legend(
        *zip(*peers, *blank, *forms, strict=True),
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize=11,
        columnspacing=3,
    )


def short(value: float) -> str:
    """For an axis: 20 k, 0.5."""
    if value >= 1_000_000:
        return f"{value / 1_000_000:g} M"
    return f"{value / 1000:g} k" if value >= 1000 else f"{value:g}"


def _title(depths: Depths) -> str:
    where = {"ram": "a RAM disk", "disk": "a disk"}.get(depths.place, depths.place)
    return f"Holdfast: 4 KiB requests on {where}"


def _subtitle(depths: Depths, facts: dict[str, Any]) -> str:
    placements = ", ".join(dict.fromkeys(cell.placement for cell in depths.samples))
    return (
        f"{facts['processors']} processors, {facts['machine']} · Linux {facts['kernel']} ·"
        f" commit {facts['commit']} · {facts['time'][:10]}\n"
        f"alternating rounds: {depths.rounds}, of {depths.seconds:g} s · {depths.engine},"
        f" direct I/O · placement: {placements}\n"
        "medians of the rounds; whiskers: all rounds (latency: from the median to p99, dot: p99.9)"
    )
