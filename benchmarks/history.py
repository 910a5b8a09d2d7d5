"""What a history costs a volume: the same volume without one, with one on another device, and with
one on the device that the leg is on. Alternating rounds, as in the rest.

A machine with one disk has no second one to put it on: the other device is the RAM disk then, which
costs processor time and memory but waits for nothing, and the result says so.
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.commands import BenchmarkError, run
from benchmarks.comparison import say
from benchmarks.depths import processor_time
from benchmarks.depths.fio import DURABLE, WRITES, Load, layout_options, parse
from benchmarks.postgresql import transactions
from benchmarks.report import Table, aligned, markdown
from benchmarks.spread import spread
from benchmarks.subjects import HoldfastVolume, remove_folder

WITHOUT, ELSEWHERE, BESIDE = "no history", "history on another device", "history beside the leg"
CLIENTS = (4, 16)
GOALS = {ELSEWHERE: 0.9, BESIDE: 0.75}
"""Of pgbench, least ratio to the volume without a history."""

_LIMIT = "1G"
"""What is older goes while it is measured, as it does in use."""
_SECTOR_BYTES = 512
"""Of /sys/.../stat, whatever the device has (Documentation/block/stat.rst)."""


@dataclass(frozen=True)
class Work:
    """A name, and what does it in a directory for so many seconds: how many, how many a second."""

    name: str
    do: Callable[[Path, float], tuple[float, float]]
    has_goal: bool = False


@dataclass(frozen=True)
class Sample:
    """One round of one subject. Times in microseconds for each request or transaction."""

    per_second: float
    server_us: float
    """Of keeper and worker."""
    kernel_us: float
    volume_bytes: int
    """What the file system wrote to the volume's loop device."""
    disk_bytes: int
    """What was written to the disk below the leg meanwhile, by anybody."""

    @property
    def amplification(self) -> float:
        """Bytes on that disk for each byte of the volume."""
        return self.disk_bytes / self.volume_bytes if self.volume_bytes else 0.0


@dataclass
class Histories:
    """What was measured: work → subject → one sample per round."""

    seconds: float
    legs: str = ""
    """Where they are, in words."""
    places: dict[str, str] = field(default_factory=dict)
    """Of each history, in words."""
    samples: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def ratios(self, work: str, subject: str) -> list[float]:
        """To the volume without a history, round by round."""
        of = self.samples.get(work, {})
        pairs = zip(of.get(subject, ()), of.get(WITHOUT, ()), strict=False)
        return [one.per_second / other.per_second for one, other in pairs]


def _fio(load: Load, directory: Path, seconds: float) -> tuple[float, float]:
    try:
        sample = parse(run("fio", *load.options(directory / "work", seconds, "io_uring")), load)
    except ValueError as error:
        raise BenchmarkError(str(error)) from error
    return sample.requests, sample.per_second


def _pgbench(clients: int, directory: Path, seconds: float) -> tuple[float, float]:
    per_second = transactions(directory, seconds, clients)
    return per_second * max(1, round(seconds)), per_second


WORKS = (
    *(
        Work(f"{load.name}, depth {load.depth}", partial(_fio, load))
        for load in (DURABLE, WRITES[-1])
    ),
    *(Work(f"pgbench, {count} clients", partial(_pgbench, count), True) for count in CLIENTS),
)


def measure(disk: Path, ram: Path, other: Path | None, rounds: int, seconds: float) -> Histories:
    """Legs under `disk`; the history elsewhere under `other`, or else `ram`. Raises
    BenchmarkError."""
    found = Histories(seconds, f"{disk} ({_device_words(disk)})")
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="hf-history-", dir=disk))
        stack.callback(remove_folder, folder)
        folder.chmod(0o755)  # PostgreSQL's user must be able to come through
        elsewhere = Path(tempfile.mkdtemp(prefix="hf-history-", dir=other or ram))
        stack.callback(remove_folder, elsewhere)
        if elsewhere.stat().st_dev == folder.stat().st_dev:
            raise BenchmarkError(f"{other} is on the device that the legs are on")
        found.places = {
            ELSEWHERE: f"{elsewhere.parent} ({_device_words(elsewhere)})",
            BESIDE: f"{disk}, the file system of the leg",
        }
        directories = {
            WITHOUT: None, ELSEWHERE: elsewhere / "history", BESIDE: folder / "history",
        }  # fmt: skip
        volumes = {}
        for number, (name, directory) in enumerate(directories.items()):
            own = folder / str(number)
            own.mkdir()
            volumes[name] = stack.enter_context(_volume(own, directory))
        for name, volume in volumes.items():
            say(f"history: warming up {name}")
            run("fio", *layout_options(volume.directory / "work"))
            for work in WORKS if _has_database() else ():
                if work.has_goal:
                    work.do(volume.directory, 1.0)
        for turn in range(rounds):
            for work in WORKS:
                names = list(volumes)
                first = turn % len(names)
                for name in names[first:] + names[:first]:
                    _measure(found, work, name, volumes[name])
    return found


@contextmanager
def _volume(folder: Path, directory: Path | None) -> Iterator[HoldfastVolume]:
    with HoldfastVolume(folder, [f"file:{folder}/leg1.img"]) as volume:
        if directory is not None:
            words = (f"--at={directory}", f"--limit={_LIMIT}")
            volume.command("history", volume.name, *words)
        yield volume


def _measure(found: Histories, work: Work, name: str, volume: HoldfastVolume) -> None:
    run("sync", "--file-system", volume.directory)  # what others wrote is not its business
    shown = volume.show()
    servers = (shown["gate"]["keeper_pid"], shown["gate"]["worker_pid"])
    device = Path(shown["device"]).stat().st_rdev
    disk = volume.folder.stat().st_dev
    before = processor_time.read(servers)
    written, below = _written_bytes(device), _written_bytes(disk)
    try:
        count, per_second = work.do(volume.directory, found.seconds)
    except BenchmarkError as error:
        found.missing[f"{work.name}: {name}"] = str(error)
        say(f"history: {work.name}: {name} fails: {error}")
        return
    run("sync", "--file-system", volume.directory)
    spent = processor_time.read(servers).since(before)
    sample = Sample(
        per_second,
        spent.server_us / count,
        spent.kernel_us / count,
        _written_bytes(device) - written,
        _written_bytes(disk) - below,
    )
    state = json.loads(volume.command("history", volume.name, "--json"))["state"]
    if name != WITHOUT and state != "written":
        found.missing[f"{work.name}: {name}"] = f"its history was {state} afterwards"
        return
    samples = found.samples.setdefault(work.name, {}).setdefault(name, [])
    samples.append(sample)
    say(f"history, round {len(samples)}: {work.name}: {name}: {per_second:.0f}")


def _written_bytes(device: int) -> int:
    """What was written to a block device so far; 0 of a file system without one."""
    path = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat")
    return int(path.read_text().split()[6]) * _SECTOR_BYTES if path.exists() else 0


def _device_words(place: Path) -> str:
    device = place.stat().st_dev
    path = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
    return f"/dev/{path.resolve().name}" if path.exists() else "memory: no disk at all"


def _has_database() -> bool:
    return bool(list(Path("/usr/lib/postgresql").glob("*/bin/initdb")))


def table(found: Histories, work: str) -> Table:
    """One row per subject."""
    columns = ("1/s", "middle half", ": none", "server µs", "kernel µs", "bytes on disk", "goal")
    rows = [["subject", *columns]]
    has_goal = {each.name: each.has_goal for each in WORKS}
    for name, samples in found.samples[work].items():
        rate = spread([each.per_second for each in samples])
        ratios = found.ratios(work, name)
        ratio = statistics.median(ratios) if ratios else 0.0
        goal = GOALS.get(name) if has_goal[work] else None
        verdict = "-"
        if goal is not None:
            verdict = f">= {goal}: {'met' if ratio >= goal else 'missed'}"
        rows.append(
            [
                name,
                f"{rate.median:,.0f}".replace(",", " "),
                f"{rate.between_quartiles:.0%}",
                "-" if name == WITHOUT else f"{ratio:.2f}",
                f"{statistics.median(each.server_us for each in samples):.1f}",
                f"{statistics.median(each.kernel_us for each in samples):.1f}",
                f"{statistics.median(each.amplification for each in samples):.2f}",
                verdict,
            ]
        )
    return rows


def notes(found: Histories) -> list[str]:
    """What a reader of the tables has to know."""
    lines = [
        "One leg, journal `unflushed` (a history makes it `continuous`). Medians of alternating"
        f" rounds of {found.seconds:g} s; ratios are made round by round. fio with io_uring.",
        f"Legs: {found.legs}.",
        *(f"{name}: {place}." for name, place in found.places.items()),
        "Processor time for each request or transaction: server, keeper and worker; kernel, all"
        " kernel threads of the host. pgbench's include the start and the end of PostgreSQL.",
        "Bytes on disk: written to the disk of the legs, by anybody, for each byte that the file"
        " system wrote to the volume. What goes to another device is not in.",
    ]
    if "memory" in found.places.get(ELSEWHERE, ""):
        lines.append(
            "There was no second disk: the other device is memory, which no flush waits for. A disk"
            " of its own costs more where it answers later than that of the leg."
        )
    return [*lines, *(f"{name} did not run: {why}" for name, why in found.missing.items())]


def show(found: Histories) -> str:
    """For a terminal."""
    parts = [f"{work}\n{aligned(table(found, work))}" for work in found.samples]
    return "\n\n".join([*parts, "\n".join(notes(found))])


def write(folder: Path, found: Histories, facts: dict[str, Any]) -> None:
    """Write history.json and history.md into `folder`."""
    values = {"host": facts, **dataclasses.asdict(found)}
    (folder / "history.json").write_text(json.dumps(values, indent=1) + "\n")
    parts = ["# History", ", ".join(f"{key} {value}" for key, value in facts.items())]
    for work in found.samples:
        parts += [f"## {work}", markdown(table(found, work))]
    parts.append("\n".join(f"- {line}" for line in notes(found)))
    (folder / "history.md").write_text("\n\n".join(parts) + "\n")
