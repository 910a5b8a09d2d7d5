"""Alternating rounds of loads over subjects and placements."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from benchmarks.commands import BenchmarkError, run
from benchmarks.comparison import say, set_up
from benchmarks.depths import processor_time
from benchmarks.depths.fio import Load, Sample, layout_options, parse
from benchmarks.depths.placement import Placement, check, placed
from benchmarks.depths.subjects import DEPTH_SUBJECTS
from benchmarks.subjects import Ready, remove_folder


class Cell(NamedTuple):
    """What one figure is of."""

    load: Load
    placement: str
    subject: str


@dataclass
class Depths:
    """What was measured in one place: one sample per round."""

    place: str
    engine: str
    seconds: float
    """Of each sample."""
    samples: dict[Cell, list[Sample]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    """Subjects and placements that did not run, with the reason."""

    def ratios(self, cell: Cell, other: str) -> list[float]:
        """To another subject, round by round; empty of itself, and when one did not run."""
        if cell.subject == other:
            return []
        against = self.samples.get(cell._replace(subject=other), [])
        own = self.samples.get(cell, [])
        return [a.per_second / b.per_second for a, b in zip(own, against, strict=False)]

    @property
    def rounds(self) -> int:
        """The most that a cell has."""
        return max(map(len, self.samples.values()), default=0)


def measure(
    depths: Depths,
    parent: Path,
    subjects: Sequence[str],
    loads: Sequence[Load],
    placements: Sequence[Placement],
    rounds: int,
) -> None:
    """Set all subjects up in a folder under `parent`, measure in turns, and clean up.

    A subject that fails is left out from then on. Each round begins with another subject, so that
    none is always the first.
    """
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="hf-depths-", dir=parent))
        stack.callback(remove_folder, folder)
        chosen = {name: DEPTH_SUBJECTS[name] for name in subjects}
        ready = set_up(stack, folder, chosen, depths.missing)
        for each in ready.values():
            run("fio", *layout_options(_file(each)))
        possible = [each for each in placements if _is_possible(each, depths)]
        for turn in range(rounds):
            for load in loads:
                for placement in possible:
                    names = list(ready)
                    first = turn % max(1, len(names))
                    for name in names[first:] + names[:first]:
                        _one(depths, Cell(load, placement.name, name), ready[name], placement)


def _one(depths: Depths, cell: Cell, ready: Ready, placement: Placement) -> None:
    if cell.subject in depths.missing:
        return
    try:
        run("sync", "--file-system", ready.directory)  # what others wrote is not its business
        sample = _sample(depths, cell.load, ready, placement)
    except (BenchmarkError, OSError, ValueError) as error:
        depths.missing[cell.subject] = f"{cell.load.name}: {error}"
        say(f"{depths.place}: {cell.subject} fails: {error}")
        return
    depths.samples.setdefault(cell, []).append(sample)
    say(
        f"{depths.place}, round {len(depths.samples[cell])}: {cell.load.name},"
        f" depth {cell.load.depth}, {placement.name}: {cell.subject}: {sample.per_second:.0f}/s"
    )


def _sample(depths: Depths, load: Load, ready: Ready, placement: Placement) -> Sample:
    options = load.options(_file(ready), depths.seconds, depths.engine)
    with placed(placement, ready.servers) as words:
        before = processor_time.read(ready.servers)
        output = run(*words, "fio", *options)
        spent = processor_time.read(ready.servers).since(before)
    sample = parse(output, load)
    return dataclasses.replace(
        sample,
        server_us=spent.server_us / sample.requests,
        kernel_us=spent.kernel_us / sample.requests,
    )


def _file(ready: Ready) -> Path:
    return ready.directory / "work"


def _is_possible(placement: Placement, depths: Depths) -> bool:
    try:
        check(placement)
    except BenchmarkError as error:
        depths.missing[placement.name] = str(error)
        say(str(error))
        return False
    return True
