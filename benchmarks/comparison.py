"""Alternating rounds over subjects and workloads; the median of each."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.commands import BenchmarkError
from benchmarks.subjects import SUBJECTS, Ready, Subject, remove_folder
from benchmarks.workloads import SEQUENTIAL_WRITE, Workload


@dataclass
class Comparison:
    """Figures of one place: workload → subject → one value per round."""

    place: str
    units: dict[str, str] = field(default_factory=dict)
    figures: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    """Subjects that could not run, with the reason."""
    paths: dict[str, str] = field(default_factory=dict)
    """Of Holdfast's subjects: which path their gates had, compiled or Python."""

    def median(self, workload: str, subject: str) -> float | None:
        """The median over the rounds, or None when it did not run."""
        values = self.figures.get(workload, {}).get(subject)
        return statistics.median(values) if values else None


def compare(
    place: str,
    parent: Path,
    subjects: list[str],
    workloads: list[Workload],
    rounds: int,
    seconds: float,
) -> Comparison:
    """Set all subjects up in a folder under `parent`, measure in turns, and clean up.

    A subject that fails is left out from then on, and named in `missing`.
    """
    comparison = Comparison(place, {workload.name: workload.unit for workload in workloads})
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="hf-bench-", dir=parent))
        stack.callback(remove_folder, folder)
        # PostgreSQL's user must be able to come through.
        folder.chmod(0o755)
        ready = set_up(
            stack, folder, {name: SUBJECTS[name] for name in subjects}, comparison.missing
        )
        comparison.paths = {name: each.path for name, each in ready.items() if each.path}
        directories = {name: each.directory for name, each in ready.items()}
        # Untimed: the first touch of memory and of file blocks is the host's business.
        for name, directory in directories.items():
            with suppress(BenchmarkError):
                say(f"{place}: warming up {name}")
                SEQUENTIAL_WRITE.measure(directory, seconds)
        for turn in range(rounds):
            for workload in workloads:
                names = list(directories)
                first = turn % max(1, len(names))
                for name in names[first:] + names[:first]:
                    _measure(comparison, workload, name, directories, seconds, turn)
    return comparison


def set_up(
    stack: ExitStack, folder: Path, subjects: dict[str, Subject], missing: dict[str, str]
) -> dict[str, Ready]:
    """Those that run here, each in a folder of its own; why the others do not: `missing`."""
    ready = {}
    for number, (name, subject) in enumerate(subjects.items()):
        own = folder / str(number)
        own.mkdir()
        try:
            ready[name] = stack.enter_context(subject(own))
        except BenchmarkError as error:
            missing[name] = str(error)
            say(f"{name} does not run: {error}")
    return ready


def _measure(
    comparison: Comparison,
    workload: Workload,
    name: str,
    directories: dict[str, Path],
    seconds: float,
    turn: int,
) -> None:
    if name in comparison.missing:
        return
    os.sync()
    try:
        value = workload.measure(directories[name], seconds)
    except (BenchmarkError, OSError) as error:
        comparison.missing[name] = f"{workload.name}: {error}"
        say(f"{comparison.place}: {name} fails: {error}")
        return
    say(f"{comparison.place}, round {turn + 1}: {workload.name}: {name}: {value:.0f}")
    comparison.figures.setdefault(workload.name, {}).setdefault(name, []).append(value)


def say(text: str) -> None:
    """Progress for whoever waits; standard output is kept for the result."""
    print(text, file=sys.stderr, flush=True)
