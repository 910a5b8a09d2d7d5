"""A clone that is filled while it is in use (`clone --into`): how fast, against a plain copy of the
same image, and what an fdatasync writer in it gets done meanwhile, against afterwards."""

from __future__ import annotations

import json
import os
import statistics
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.commands import BenchmarkError, run
from benchmarks.comparison import say
from benchmarks.latency import TIMEOUT_SECONDS
from benchmarks.report import Table, aligned, markdown
from benchmarks.rewind import fill_with_data, kept_position, small_volume, writing
from benchmarks.subjects import HoldfastVolume
from holdfast.model.size import format_size

GOAL_SPEED, GOAL_WRITER = 0.7, 0.9
_POLL_SECONDS = 0.05
_LEAST_SECONDS = 3.0
"""For how long the writer is watched afterwards."""


@dataclass
class Filling:
    """One of each list per round."""

    data_bytes: int
    mounted_seconds: list[float] = field(default_factory=list)
    """Of the command."""
    filled_seconds: list[float] = field(default_factory=list)
    """From then on, until the clone needs the copy no more, with the writer in it."""
    copied_seconds: list[float] = field(default_factory=list)
    """`cp` of the copy's image, and a sync of what was made."""
    writes_meanwhile: list[float] = field(default_factory=list)
    """Each second."""
    writes_afterwards: list[float] = field(default_factory=list)

    @property
    def speeds(self) -> list[float]:
        """To the plain copy's, round by round."""
        pairs = zip(self.copied_seconds, self.filled_seconds, strict=True)
        return [copied / filled for copied, filled in pairs]

    @property
    def writers(self) -> list[float]:
        """Meanwhile to afterwards, round by round."""
        pairs = zip(self.writes_meanwhile, self.writes_afterwards, strict=True)
        return [during / after for during, after in pairs]


def measure(parent: Path, rounds: int, data_bytes: int) -> Filling:
    """Needs four times the data of room. Raises BenchmarkError."""
    found = Filling(data_bytes)
    with ExitStack() as stack:
        volume = stack.enter_context(small_volume(parent, data_bytes))
        fill_with_data(volume.directory, data_bytes)
        volume.command("history", volume.name, f"--at={volume.folder}/history")
        volume.command("copy", "add", volume.name, f"file:{volume.folder}/copy.img")
        (volume.directory / "since").write_bytes(os.urandom(1 << 20))
        moment = kept_position(volume)
        for turn in range(rounds):
            for measure_one in (_copy, _fill)[:: -1 if turn % 2 else 1]:
                _forget_pages(volume.folder / "copy.img")
                measure_one(found, volume, moment)
            say(
                f"filling: {found.filled_seconds[-1]:.1f} s, plain copy"
                f" {found.copied_seconds[-1]:.1f} s; writer {found.writers[-1]:.2f}"
            )
    return found


def _copy(found: Filling, volume: HoldfastVolume, moment: str) -> None:
    plain = volume.folder / "plain.img"
    begun = time.monotonic()
    run("cp", "--reflink=never", volume.folder / "copy.img", plain)
    run("sync", plain)
    found.copied_seconds.append(time.monotonic() - begun)
    plain.unlink()


def _fill(found: Filling, volume: HoldfastVolume, moment: str) -> None:
    mount, into = volume.folder / "clone", f"file:{volume.folder}/clone.img"
    words = ("clone", volume.name, "clone", "--at", moment, "--mount", str(mount), "--into", into)
    begun = time.monotonic()
    volume.command(*words)
    mounted = time.monotonic()
    found.mounted_seconds.append(mounted - begun)
    with writing(volume, mount, before=1) as writer:
        counted, since = writer.snapshot().acknowledged, time.monotonic()
        if not (volume.folder / "clone.past").exists():
            raise BenchmarkError("it was filled before the writer had begun: take more data")
        while (volume.folder / "clone.past").exists():
            time.sleep(_POLL_SECONDS)
        filled = time.monotonic()
        done = writer.snapshot().acknowledged
        found.filled_seconds.append(filled - mounted)
        found.writes_meanwhile.append((done - counted) / (filled - since))
        writer.wait_for(lambda now: now.acknowledged > done, TIMEOUT_SECONDS)
        done, filled = writer.snapshot().acknowledged, time.monotonic()
        time.sleep(max(_LEAST_SECONDS, filled - since))
        writer.wait_for(lambda now: now.acknowledged > done, TIMEOUT_SECONDS)
        seconds = time.monotonic() - filled
        found.writes_afterwards.append((writer.snapshot().acknowledged - done) / seconds)
    volume.command("volume", "delete", "clone", "--yes")


def _forget_pages(image: Path) -> None:
    with image.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def table(found: Filling) -> Table:
    """One row."""
    speed, writer = statistics.median(found.speeds), statistics.median(found.writers)
    met = "met" if speed >= GOAL_SPEED and writer >= GOAL_WRITER else "missed"
    columns = ("mounted", "filled", "plain copy", "its speed", "writes: afterwards", "goal")
    return [
        ["data", *columns],
        [
            format_size(found.data_bytes),
            f"{statistics.median(found.mounted_seconds):.1f} s",
            f"{statistics.median(found.filled_seconds):.1f} s",
            f"{statistics.median(found.copied_seconds):.1f} s",
            f"{speed:.2f} ({min(found.speeds):.2f} to {max(found.speeds):.2f})",
            f"{writer:.2f} ({min(found.writers):.2f} to {max(found.writers):.2f})",
            f">= {GOAL_SPEED}, >= {GOAL_WRITER}: {met}",
        ],
    ]


_NOTES = (
    "`clone --into` against `cp` and sync of the same image, alternating; ratios are made round by"
    " round. The writer (64 bytes and fdatasync, again and again) works in the clone all the time.",
    "A gate fills a leg at 200 MiB a second at most.",
)


def show(found: Filling) -> str:
    """For a terminal."""
    return "\n".join([aligned(table(found)), *_NOTES])


def write(folder: Path, found: Filling, facts: dict[str, Any]) -> None:
    """Write filling.json and filling.md into `folder`."""
    values = {"host": facts, **asdict(found)}
    (folder / "filling.json").write_text(json.dumps(values, indent=1) + "\n")
    parts = ["# Filling a clone", ", ".join(f"{key} {value}" for key, value in facts.items())]
    parts += [markdown(table(found)), "\n".join(f"- {line}" for line in _NOTES)]
    (folder / "filling.md").write_text("\n\n".join(parts) + "\n")
