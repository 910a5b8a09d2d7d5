"""What was measured at several depths, as tables, Markdown and JSON."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.depths.fio import Load, Sample
from benchmarks.depths.measure import Cell, Depths
from benchmarks.depths.placement import FREE
from benchmarks.depths.subjects import RAW
from benchmarks.report import Table, aligned, markdown
from benchmarks.spread import spread
from benchmarks.subjects import PLAIN

HEADER = [
    *("subject", "1/s", "middle half", ": plain", ": raw", "p50 µs", "p99", "p99.9"),
    *("server µs", "kernel µs", "fio µs"),
]
PLACEMENT_HEADER = [
    *("subject", "placement", "1/s", "middle half", "all", ": plain", "p50 µs", "p99", "p99.9"),
]
NOTES = (
    "Medians of alternating rounds. Middle half: how far apart the middle half of the rounds lies,"
    " all: how far all of them do, as a part of the median. Ratios are made round by round.",
    "fio with direct I/O on a file of 256 MiB: on ext4 on a loop device; the raw image is itself"
    " that file. On a RAM disk io_uring hands each request of that one to a thread of its own.",
    "A write with fdatasync is two plain system calls; its latencies are those of the fdatasync.",
    "Processor time per request: server, all threads of the processes that every request goes"
    " through (Holdfast: keeper and worker); kernel, all kernel threads of the host, among them the"
    " loop device's; fio, its own thread. Interrupts and io_uring's threads are in none.",
    "compiled, Python: the path that the gate has (`volume show`). What compiled code does not"
    " serve, Python does: Fast path in docs/gate.md.",
    "nbdkit keeps its image in the page cache; Holdfast, loop device and raw image do not.",
)


def loads_of(depths: Depths) -> list[Load]:
    """In the order in which they were measured."""
    return list(dict.fromkeys(cell.load for cell in depths.samples))


def title(load: Load) -> str:
    """For people."""
    return f"{load.name}, depth {load.depth}"


def load_table(depths: Depths, load: Load) -> Table:
    """One row per subject; of one placement."""
    rows = [HEADER]
    for cell, samples in depths.samples.items():
        if cell.load == load:
            rate = spread([sample.per_second for sample in samples])
            rows.append(
                [
                    cell.subject,
                    _thousands(rate.median),
                    f"{rate.between_quartiles:.0%}",
                    _ratio(depths, cell, PLAIN),
                    _ratio(depths, cell, RAW),
                    *_latencies(samples),
                    *(f"{_median(samples, of):.1f}" for of in ("server_us", "kernel_us", "fio_us")),
                ]
            )
    return rows


def placement_table(depths: Depths, load: Load) -> Table:
    """One row per subject and placement."""
    rows = [PLACEMENT_HEADER]
    cells = [cell for cell in depths.samples if cell.load == load]
    subjects = list(dict.fromkeys(cell.subject for cell in cells))
    for cell in sorted(cells, key=lambda cell: subjects.index(cell.subject)):
        samples = depths.samples[cell]
        rate = spread([sample.per_second for sample in samples])
        rows.append(
            [
                cell.subject,
                cell.placement,
                _thousands(rate.median),
                f"{rate.between_quartiles:.0%}",
                f"{rate.between_extremes:.0%}",
                _ratio(depths, cell, PLAIN),
                *_latencies(samples),
            ]
        )
    return rows


def placement_summary(depths: Depths) -> Table:
    """What each placement did to all loads and subjects together: medians over them."""
    rows = [["placement", f"1/s : {FREE.name}", "middle half", "all"]]
    for placement in dict.fromkeys(cell.placement for cell in depths.samples):
        gains, halves, alls = [], [], []
        for cell, samples in depths.samples.items():
            free = depths.samples.get(cell._replace(placement=FREE.name))
            if cell.placement != placement or not free:
                continue
            rate = spread([sample.per_second for sample in samples])
            gains.append(rate.median / statistics.median(sample.per_second for sample in free))
            halves.append(rate.between_quartiles)
            alls.append(rate.between_extremes)
        if gains:
            gain, half, most = map(statistics.median, (gains, halves, alls))
            rows.append([placement, f"{gain:.2f}", f"{half:.0%}", f"{most:.0%}"])
    return rows


def show(depths: Depths, table: Callable[[Depths, Load], Table]) -> str:
    """All tables for a terminal."""
    return "\n\n".join(
        f"{title(load)}, on {depths.place}\n{aligned(table(depths, load))}"
        for load in loads_of(depths)
    )


def write(
    folder: Path,
    name: str,
    depths: Depths,
    table: Callable[[Depths, Load], Table],
    facts: dict[str, Any],
    extra: str = "",
) -> None:
    """Write NAME.json and NAME.md into `folder`; `extra` comes before the tables."""
    (folder / f"{name}.json").write_text(json.dumps(values(depths, facts), indent=1) + "\n")
    parts = [f"# {name}", ", ".join(f"{key} {value}" for key, value in facts.items())]
    parts.append(
        f"{depths.rounds} rounds of {depths.seconds:g} s, engine {depths.engine},"
        f" placement {', '.join(dict.fromkeys(cell.placement for cell in depths.samples))}."
    )
    if extra:
        parts.append(extra)
    for load in loads_of(depths):
        parts += [f"## {title(load)}", markdown(table(depths, load))]
    parts.append("\n".join(f"- {line}" for line in (*NOTES, *missing(depths))))
    (folder / f"{name}.md").write_text("\n\n".join(parts) + "\n")


def missing(depths: Depths) -> list[str]:
    """What did not run, and why."""
    return [f"{name} did not run: {reason}" for name, reason in depths.missing.items()]


def values(depths: Depths, facts: dict[str, Any]) -> dict[str, Any]:
    """All samples of all rounds, for JSON."""
    return {
        "host": facts,
        "place": depths.place,
        "engine": depths.engine,
        "seconds": depths.seconds,
        "missing": depths.missing,
        "cells": [
            {
                "load": cell.load.name,
                "depth": cell.load.depth,
                "placement": cell.placement,
                "subject": cell.subject,
                "rounds": [dataclasses.asdict(sample) for sample in samples],
            }
            for cell, samples in depths.samples.items()
        ],
    }


def _ratio(depths: Depths, cell: Cell, other: str) -> str:
    ratios = depths.ratios(cell, other)
    return f"{statistics.median(ratios):.2f}" if ratios else "-"


def _latencies(samples: list[Sample]) -> list[str]:
    p50, p99, p999 = (_median(samples, of) for of in ("p50_us", "p99_us", "p999_us"))
    return [f"{p50:.1f}", f"{p99:.0f}", f"{p999:.0f}"]


def _median(samples: list[Sample], of: str) -> float:
    return float(statistics.median(getattr(sample, of) for sample in samples))


def _thousands(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ")
