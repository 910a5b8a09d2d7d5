"""How long applications stand while their volume is exchanged below them, without the copy.

Processes hold descriptors on an ext4 file system; an equal one lies ready on another image. Then
everything that a restoration does while they are stopped: find them, stop, park, dismount, mount
the other, rebind, release. Beside it runs a process that has nothing to do with it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.commands import BenchmarkError, run, wait_until
from benchmarks.comparison import say
from benchmarks.report import Table, aligned, markdown
from benchmarks.subjects import remove_folder
from holdfast.applications.rebind.rebind import Rebind
from holdfast.applications.users import find_users
from holdfast.model.handle import HandleOutcome
from holdfast.mountpoints.capture import capture
from holdfast.mountpoints.dismount import dismount
from holdfast.mountpoints.remount import remount
from holdfast.system.storage.loop import loop_devices

PROCESSES = 50
HANDLES = (100, 1000, 10_000)
GOALS_MS = {1000: 200.0, 10_000: 800.0}
"""By number of handles, for the time that applications stand."""
PHASES = ("stop", "park", "dismount", "remount", "rebind", "release")
_IMAGE_BYTES = 256 << 20
_DEADLINE_SECONDS = 120.0


@dataclass
class Exchange:
    """Milliseconds of each phase, one list entry per round, for one number of handles."""

    handles: int
    find_ms: list[float] = field(default_factory=list)
    """Looking for the users, and whether they can be moved, before anybody is stopped."""
    phases_ms: dict[str, list[float]] = field(
        default_factory=lambda: {phase: [] for phase in PHASES}
    )
    gap_with_ms: list[float] = field(default_factory=list)
    """Longest gap of the uninvolved process during an exchange."""
    gap_without_ms: list[float] = field(default_factory=list)
    """The same in as much time directly before it."""

    @property
    def stopped_ms(self) -> list[float]:
        """From the beginning of the stop to the end of the release."""
        return [sum(each) for each in zip(*self.phases_ms.values(), strict=True)]


def measure(parent: Path, rounds: int) -> list[Exchange]:
    """All numbers of handles, `rounds` exchanges each. Raises BenchmarkError."""
    return [_measure(parent, handles, rounds) for handles in HANDLES]


def _measure(parent: Path, handles: int, rounds: int) -> Exchange:
    exchange = Exchange(handles)
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="hf-rebind-", dir=parent))
        stack.callback(remove_folder, folder)
        path = folder / "mnt"
        path.mkdir()
        device = _device(folder, 0)
        stack.callback(_let_go_of_devices, folder)
        run("mount", device, path)
        stack.callback(_dismount, path)
        words = ["benchmarks.handles", path, PROCESSES, handles // PROCESSES]
        program = stack.enter_context(module(*words))
        if _line(program) != "ready":
            raise BenchmarkError("the processes that hold descriptors do not start")
        heart = stack.enter_context(module("benchmarks.heartbeat"))
        for number in range(rounds):
            _exchange(exchange, folder, number + 1, heart)
            if ask(program) != "ok":
                raise BenchmarkError("a descriptor is not what it was after a rebind")
        say(f"{handles} handles: {statistics.median(exchange.stopped_ms):.0f} ms")
    return exchange


def _exchange(exchange: Exchange, folder: Path, number: int, heart: subprocess.Popen[str]) -> None:
    """One exchange: the other file system is filled before, and nothing is written meanwhile."""
    path = folder / "mnt"
    device = _device(folder, number)
    other = folder / "other"
    other.mkdir(exist_ok=True)
    run("mount", device, other)
    try:
        run("cp", "--archive", f"{path}/.", other)
    finally:
        run("umount", other)
    run("sync", "--file-system", path)
    ask(heart)
    time.sleep(statistics.median(exchange.stopped_ms) / 1000 if exchange.stopped_ms else 0.5)
    exchange.gap_without_ms.append(float(ask(heart)))

    points = capture(str(path))
    times = [time.perf_counter()]
    users = find_users(points)
    deadline_ns = time.monotonic_ns() + int(_DEADLINE_SECONDS * 1e9)
    record = folder / f"record-{number}"
    rebind = Rebind(record, users, deadline_ns, points, lambda: find_users(points))
    rebind.prepare()
    times.append(time.perf_counter())
    rebind.stop()
    times.append(time.perf_counter())
    try:
        rebind.park()
        times.append(time.perf_counter())
        back = dismount(points)
        times.append(time.perf_counter())
        bases = remount(back, device, "ext4")
        times.append(time.perf_counter())
        lines = rebind.rebind(bases, same_data=True)
        times.append(time.perf_counter())
    finally:
        rebind.release()
        times.append(time.perf_counter())
        run("losetup", "--detach", device)  # it goes with its mount
    exchange.gap_with_ms.append(float(ask(heart)))
    for descriptor in bases.values():
        os.close(descriptor)
    moved = [line for line in lines if line.outcome is HandleOutcome.IDENTICAL]
    if len(moved) < exchange.handles or len(moved) < len(lines):
        raise BenchmarkError(f"{len(moved)} of {len(lines)} handles moved, {exchange.handles} held")
    find_ms, *phases_ms = [(after - before) * 1000 for before, after in pairwise(times)]
    exchange.find_ms.append(find_ms)
    for phase, milliseconds in zip(PHASES, phases_ms, strict=True):
        exchange.phases_ms[phase].append(milliseconds)


def _device(folder: Path, number: int) -> str:
    """A loop device with a new file system; images that are not needed any more are deleted."""
    for old in folder.glob("*.img"):
        if int(old.stem) < number - 1:
            old.unlink()
    image = folder / f"{number}.img"
    with image.open("wb") as file:
        file.truncate(_IMAGE_BYTES)
    run("mkfs.ext4", "-q", "-F", "-N", "16384", image)
    return run("losetup", "--find", "--show", image).strip()


def _dismount(path: Path) -> None:
    """The processes that were killed last may still be ending."""
    if path.is_mount():
        wait_until(
            lambda: subprocess.call(["umount", path], stderr=subprocess.DEVNULL) == 0,
            f"umount {path}",
        )


def _let_go_of_devices(folder: Path) -> None:
    for loop in loop_devices():
        if Path(loop.backing_file).parent == folder:
            subprocess.run(["losetup", "--detach", loop.device], check=False)


@contextmanager
def module(*words: object) -> Iterator[subprocess.Popen[str]]:
    """A module of ours as a program, which ends with this."""
    command = [sys.executable, "-m", *map(str, words)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def ask(process: subprocess.Popen[str]) -> str:
    """What such a program says to an empty line."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return _line(process)


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def table(exchanges: list[Exchange]) -> Table:
    """Medians, one row per number of handles."""
    rows = [["handles (50 processes)", *PHASES, "stopped", "worst", "per handle", "goal"]]
    for exchange in exchanges:
        stopped = statistics.median(exchange.stopped_ms)
        goal, goal_ms = "-", GOALS_MS.get(exchange.handles)
        if goal_ms is not None:
            goal = f"<= {goal_ms:.0f} ms: {'met' if stopped <= goal_ms else 'missed'}"
        rows.append(
            [
                str(exchange.handles),
                *(f"{statistics.median(exchange.phases_ms[phase]):.0f} ms" for phase in PHASES),
                f"{stopped:.0f} ms",
                f"{max(exchange.stopped_ms):.0f} ms",
                f"{stopped / exchange.handles:.2f} ms",
                goal,
            ]
        )
    return rows


def heartbeat_table(exchanges: list[Exchange]) -> Table:
    """Longest gaps of the uninvolved process."""
    rows = [
        ["uninvolved process: longest gap", "without: median", "worst", "with: median", "worst"]
    ]
    for each in exchanges:
        without, during = each.gap_without_ms, each.gap_with_ms
        figures = (statistics.median(without), max(without), statistics.median(during), max(during))
        rows.append([f"{each.handles} handles", *(f"{figure:.1f} ms" for figure in figures)])
    return rows


def show(exchanges: list[Exchange]) -> str:
    """Both tables for a terminal."""
    return f"{aligned(table(exchanges))}\n\n{aligned(heartbeat_table(exchanges))}"


def write(folder: Path, exchanges: list[Exchange], facts: dict[str, Any]) -> None:
    """Write rebind.json and rebind.md into `folder`, which is made when absent."""
    folder.mkdir(parents=True, exist_ok=True)
    values = {"host": facts, "exchanges": [vars(each) for each in exchanges]}
    (folder / "rebind.json").write_text(json.dumps(values, indent=1) + "\n")
    parts = [
        "# Rebind",
        ", ".join(f"{key} {value}" for key, value in facts.items()),
        "Milliseconds while applications stand, medians; the copy is made before.",
        markdown(table(exchanges)),
        markdown(heartbeat_table(exchanges)),
    ]
    (folder / "rebind.md").write_text("\n\n".join(parts) + "\n")
