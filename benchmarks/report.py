"""The result as an aligned table, as Markdown and as JSON."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.comparison import Comparison
from benchmarks.latency import Latency
from benchmarks.spread import percentile
from benchmarks.subjects import ONE_LEG, PEERS, PLAIN, QEMU
from benchmarks.workloads import COLD_READ, CREATE_FILES, DURABLE_WRITE, PGBENCH, WARM_READ

# (place, workload) → least ratio to the plain loop device, least ratio to the better peer.
GOALS: dict[tuple[str, str], tuple[float, float | None]] = {
    ("ram", COLD_READ.name): (0.5, 1.3),
    ("ram", DURABLE_WRITE.name): (0.7, 1.3),
    ("ram", WARM_READ.name): (0.9, None),
    ("ram", CREATE_FILES.name): (0.9, None),
    **{("disk", each.name): (0.95, None) for each in PGBENCH},
}

Table = list[list[str]]


def comparison_table(comparison: Comparison) -> Table:
    """A header, then one row per workload: figures, and ratios to the plain loop."""
    subjects = list(dict.fromkeys(s for row in comparison.figures.values() for s in row))
    rows = [["workload", *subjects, "to better peer", "goal"]]
    for workload, unit in comparison.units.items():
        plain = comparison.median(workload, PLAIN)
        row = [f"{workload} ({unit})"]
        for subject in subjects:
            value = comparison.median(workload, subject)
            text = "-" if value is None else f"{value:,.0f}".replace(",", " ")
            if value is not None and plain and subject != PLAIN:
                text += f" ({value / plain:.2f})"
            row.append(text)
        rows.append([*row, *_verdict(comparison, workload)])
    return rows


def _verdict(comparison: Comparison, workload: str) -> tuple[str, str]:
    own, plain = comparison.median(workload, ONE_LEG), comparison.median(workload, PLAIN)
    peers = [comparison.median(workload, peer) for peer in PEERS]
    better = max((value for value in peers if value is not None), default=None)
    to_peer = own / better if own is not None and better else None
    shown = "-" if to_peer is None else f"{to_peer:.2f}"
    goal = GOALS.get((comparison.place, workload))
    if goal is None or own is None or not plain:
        return shown, "-"
    least, least_to_peer = goal
    misses = []
    if own / plain < least:
        misses.append(f"{own / plain:.2f} < {least}")
    if least_to_peer is not None and to_peer is not None and to_peer < least_to_peer:
        misses.append(f"{to_peer:.2f} < {least_to_peer} of peer")
    return shown, "missed: " + ", ".join(misses) if misses else "met"


def latency_table(latencies: list[Latency]) -> Table:
    """A header, then one row per kind of fault."""
    columns = ("rounds", "median", "p99", "worst", "errors", "goal")
    rows = [["longest wait of an fdatasync writer", *columns]]
    for latency in latencies:
        if not latency.waits_ms:
            continue
        met = "met" if latency.median_ms <= latency.goal_ms else "missed"
        rows.append(
            [
                latency.name,
                str(len(latency.waits_ms)),
                f"{latency.median_ms:.1f} ms",
                f"{percentile(latency.waits_ms, 99):.1f} ms",
                f"{latency.worst_ms:.1f} ms",
                str(latency.errors),
                f"median <= {latency.goal_ms:.0f} ms: {met}",
            ]
        )
    return rows


def aligned(table: Table) -> str:
    """The table for a terminal: the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = []
    for row in table:
        first = row[0].ljust(widths[0])
        others = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        lines.append("  ".join((first, *others)).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


def markdown(table: Table) -> str:
    """The table in Markdown."""
    lines = ["| " + " | ".join(row) + " |" for row in table]
    lines.insert(1, "|---" + "|---:" * (len(table[0]) - 1) + "|")
    return "\n".join(lines)


def host() -> dict[str, Any]:
    """What the figures were measured on."""
    words = ("describe", "--always", "--dirty", "--exclude=*")
    command = ["git", "-C", str(Path(__file__).parent), *words]
    commit = subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "machine": _machine(),
        "kernel": platform.release(),
        "processors": os.cpu_count(),
        "python": platform.python_version(),
    }


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(":")[2] for line in lines if line.startswith("model name"))
    return " ".join(next(names, platform.machine()).split())


def notes(comparisons: list[Comparison]) -> list[str]:
    """What a reader of the tables has to know."""
    lines = [
        "Medians of alternating rounds; in brackets the ratio to the plain loop device.",
        f"{QEMU}: for speed only; its FUSE export corrupted data under a direct-I/O loop device.",
        "Peers keep their image in the page cache (their default), Holdfast and the plain loop "
        "device do not: on disk their cold reads may come from memory.",
    ]
    for comparison in comparisons:
        for name, path in comparison.paths.items():
            lines.append(f"{comparison.place}: the path of {name}: {path}")
        for name, reason in comparison.missing.items():
            lines.append(f"{comparison.place}: {name} did not run: {reason}")
    return lines


def write(
    folder: Path, comparisons: list[Comparison], latencies: list[Latency], facts: dict[str, Any]
) -> None:
    """Write latest.json and latest.md into `folder`, which is made when absent."""
    folder.mkdir(parents=True, exist_ok=True)
    values = {
        "host": facts,
        "comparisons": [
            {
                "place": one.place,
                "units": one.units,
                "rounds": one.figures,
                "medians": {
                    workload: {subject: one.median(workload, subject) for subject in row}
                    for workload, row in one.figures.items()
                },
                "missing": one.missing,
                "paths": one.paths,
            }
            for one in comparisons
        ],
        "latencies": [vars(latency) for latency in latencies],
    }
    (folder / "latest.json").write_text(json.dumps(values, indent=1) + "\n")
    parts = ["# Benchmark", ", ".join(f"{key} {value}" for key, value in facts.items())]
    for comparison in comparisons:
        parts += [f"## On {comparison.place}", markdown(comparison_table(comparison))]
    if latencies:
        parts += ["## Waits", markdown(latency_table(latencies))]
    parts.append("\n".join(f"- {line}" for line in notes(comparisons)))
    (folder / "latest.md").write_text("\n\n".join(parts) + "\n")
