"""What going back in time costs whoever uses the volume.

`points`: how long an fdatasync writer stands while a point is made, on a small and on a large
volume (sparse). `rewind`: how long ten processes stand in `restore --at`, and how long the first
byte of a clone takes once it is mounted, by size of the data and number of segments of the history.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.commands import BenchmarkError, run, wait_until
from benchmarks.comparison import say
from benchmarks.latency import OPERATIONS_BEFORE, TIMEOUT_SECONDS
from benchmarks.rebind import ask, module
from benchmarks.report import Table, aligned, markdown
from benchmarks.spread import spread
from benchmarks.subjects import HoldfastVolume, remove_folder
from holdfast.demo.applications.launch import RunningApplication
from holdfast.gate.outside.client import read_counters
from holdfast.model.size import format_size

GIB = 1 << 30
POINT_SIZES = (GIB, 1 << 40)
GOAL_POINT_MS, GOAL_PAUSE_MS, GOAL_FIRST_BYTE_MS, GOAL_RATIO = 20.0, 400.0, 200.0, 1.2
USERS = 10
DESCRIPTORS = 5
"""Of each of them, open for reading and writing."""
FILE_BYTES = 64 << 20
"""Of the data: large files, as the last comparison goes by names."""
_ROOM_BYTES = 256 << 20
"""Of a volume, for its file system, beside the data twice."""


@dataclass(frozen=True)
class Case:
    """A volume that is taken back in time."""

    data_bytes: int
    segments: int
    """Of its history, at least."""

    @property
    def name(self) -> str:
        """For people."""
        noun = "segment" if self.segments == 1 else "segments"
        return f"{format_size(self.data_bytes)}, {self.segments} {noun}"


CASES = (Case(GIB, 1), Case(64 * GIB, 1), Case(GIB, 1000))
SHORT_CASES = (Case(FILE_BYTES, 1), Case(8 * FILE_BYTES, 1), Case(FILE_BYTES, 20))


@dataclass
class Stalls:
    """Longest waits of the writer in milliseconds, one of each list per round."""

    volume_bytes: int
    point_ms: list[float] = field(default_factory=list)
    other_ms: list[float] = field(default_factory=list)
    """While `point list` ran, which touches no gate: what a command costs the processors."""


@dataclass
class Rewinds:
    """One of each list per round."""

    case: Case
    pause_ms: list[float] = field(default_factory=list)
    """From the first process that stands to the last one that runs again, the longest of all."""
    restore_seconds: list[float] = field(default_factory=list)
    """The command, with what it makes before anybody stands."""
    clone_seconds: list[float] = field(default_factory=list)
    """Until it is mounted."""
    first_byte_ms: list[float] = field(default_factory=list)
    """Of a file that is read there first, by its end."""


def measure_points(parent: Path, rounds: int, sizes: tuple[int, ...] = POINT_SIZES) -> list[Stalls]:
    """All sizes, alternating. Raises BenchmarkError."""
    found = [Stalls(size) for size in sizes]
    with ExitStack() as stack:
        volumes = [stack.enter_context(_volume(parent, size)) for size in sizes]
        for volume in volumes:
            _keep_history(volume, 0)
        for turn in range(rounds):
            for stalls, volume in zip(found, volumes, strict=True):
                _stall(stalls, volume, turn)
    return found


def _stall(stalls: Stalls, volume: HoldfastVolume, turn: int) -> None:
    commands = {
        "other_ms": ("point", "list", volume.name),
        "point_ms": ("point", "create", volume.name, f"p{turn}"),
    }
    for name in sorted(commands, reverse=bool(turn % 2)):
        with writing(volume) as writer:
            writer.progress.begin_window()
            volume.command(*commands[name])
            now = writer.snapshot()
            if now.errors:
                raise BenchmarkError(f"{name}: the writer saw an error")
            getattr(stalls, name).append(now.window_wait_ns / 1e6)
    size = format_size(stalls.volume_bytes)
    say(f"points, {size}: {stalls.point_ms[-1]:.1f} ms, without {stalls.other_ms[-1]:.1f} ms")


@contextmanager
def writing(
    volume: HoldfastVolume, directory: Path | None = None, before: int = OPERATIONS_BEFORE
) -> Iterator[RunningApplication]:
    """An fdatasync writer that has written so often in the volume, or in another directory."""
    place = directory or volume.directory
    application = RunningApplication("appender", place, volume.folder, pause_seconds=0)
    with application:
        least = application.snapshot().acknowledged + before
        application.wait_for(lambda now: now.acknowledged >= least, TIMEOUT_SECONDS)
        yield application
        application.stop()


def measure_rewinds(parent: Path, rounds: int, cases: tuple[Case, ...] = CASES) -> list[Rewinds]:
    """All cases, alternating; each needs five times its data of room. Raises BenchmarkError."""
    found = [Rewinds(case) for case in cases]
    with ExitStack() as stack:
        ready = []
        for case in cases:
            say(f"rewind: making {case.name}")
            volume = stack.enter_context(small_volume(parent, case.data_bytes))
            fill_with_data(volume.directory, case.data_bytes)
            words = ("benchmarks.handles", volume.directory, USERS, DESCRIPTORS)
            users = stack.enter_context(module(*words))
            if users.stdout is None or users.stdout.readline().strip() != "ready":
                raise BenchmarkError("the processes that use the volume do not start")
            _keep_history(volume, 0)
            ready.append((volume, users))
        for turn in range(rounds):
            for rewinds, (volume, users) in zip(found, ready, strict=True):
                _rewind(rewinds, volume, users, turn)
    return found


def _rewind(
    rewinds: Rewinds, volume: HoldfastVolume, users: subprocess.Popen[str], turn: int
) -> None:
    copy = volume.folder / f"copy-{turn}.img"
    volume.command("copy", "add", volume.name, f"file:{copy}")
    _make_segments(volume, volume.folder / f"history-{turn}", rewinds.case.segments)
    _ask(users)
    moment = kept_position(volume)
    _ask(users)
    seconds, first_byte_ms = _clone(volume, moment, volume.folder / "past")
    rewinds.clone_seconds.append(seconds)
    rewinds.first_byte_ms.append(first_byte_ms)

    legs = sorted(volume.folder.glob("leg*.img"))
    place = (f"--to=file:{volume.folder}/leg-{turn + 1}.img", f"--history={_next(volume, turn)}")
    begun = time.monotonic()
    said = volume.command("restore", volume.name, "--at", moment, *place, "--yes", "--json")
    rewinds.restore_seconds.append(time.monotonic() - begun)
    standing = [each["frozen_ms"] for each in json.loads(said)["processes"]]
    if len(standing) < USERS:
        raise BenchmarkError(f"{len(standing)} of {USERS} processes stood")
    rewinds.pause_ms.append(max(standing))
    _ask(users)
    volume.command("copy", "remove", volume.name, f"file:{copy}", "--yes")
    for image in legs:
        image.unlink()
    say(f"rewind, {rewinds.case.name}: {rewinds.pause_ms[-1]:.0f} ms, clone {seconds:.1f} s")


def _clone(volume: HoldfastVolume, moment: str, mount: Path) -> tuple[float, float]:
    """Seconds until it is mounted, milliseconds for the first byte then."""
    begun = time.monotonic()
    volume.command("clone", volume.name, "past", "--at", moment, "--mount", str(mount))
    seconds = time.monotonic() - begun
    begun = time.monotonic()
    with (mount / "data-0").open("rb", buffering=0) as file:
        file.read(1)
    first_byte_ms = (time.monotonic() - begun) * 1000
    volume.command("volume", "detach", "past")
    volume.command("volume", "delete", "past", "--yes")
    (volume.folder / "past.img").unlink()
    return seconds, first_byte_ms


@contextmanager
def _volume(parent: Path, size_bytes: int) -> Iterator[HoldfastVolume]:
    folder = Path(tempfile.mkdtemp(prefix="hf-rewind-", dir=parent))
    try:
        urls = [f"file:{folder}/leg-0.img"]
        with HoldfastVolume(folder, urls, size_bytes=size_bytes) as volume:
            yield volume
    finally:
        remove_folder(folder)


def small_volume(parent: Path, data_bytes: int) -> AbstractContextManager[HoldfastVolume]:
    """One with room for twice so much data."""
    return _volume(parent, 2 * data_bytes + _ROOM_BYTES)


def _next(volume: HoldfastVolume, turn: int) -> Path:
    return volume.folder / f"history-{turn + 1}"


def _keep_history(volume: HoldfastVolume, turn: int) -> None:
    volume.command("history", volume.name, f"--at={volume.folder}/history-{turn}")


def kept_position(volume: HoldfastVolume) -> str:
    """The present moment, with everything that was written, for --at."""
    run("sync", "--file-system", volume.directory)
    found = json.loads(volume.command("history", volume.name, "--json"))
    return f"position:{found['position']}"


def fill_with_data(directory: Path, size_bytes: int) -> None:
    """Files without a hole, data-0 and so on."""
    block = os.urandom(1 << 20)
    for number in range(size_bytes // FILE_BYTES):
        with (directory / f"data-{number}").open("wb", buffering=0) as file:
            for _ in range(FILE_BYTES // len(block)):
                file.write(block)
    run("sync", "--file-system", directory)


def _make_segments(volume: HoldfastVolume, directory: Path, count: int) -> None:
    """A worker that takes over begins a segment of its own, once it has anything to write."""
    while len(list(directory.glob("segment-*"))) < count:
        with (volume.directory / "kept").open("ab", buffering=0) as file:
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
        before = read_counters(volume.run_directory)
        if before is None:
            raise BenchmarkError("the gate is gone")
        os.kill(before.worker_pid, signal.SIGKILL)
        wait_until(lambda: _takeovers(volume) > before.takeovers, "the takeover", TIMEOUT_SECONDS)  # noqa: B023 - ended here


def _takeovers(volume: HoldfastVolume) -> int:
    found = read_counters(volume.run_directory)
    return -1 if found is None else found.takeovers


def _ask(users: subprocess.Popen[str]) -> None:
    """Have them write and read through every descriptor. Raises BenchmarkError."""
    if ask(users) != "ok":
        raise BenchmarkError("a process that uses the volume saw an error")


def points_table(found: list[Stalls]) -> Table:
    """One row per size."""
    rows = [["point under an fdatasync writer", "median", "worst", "without", ": smallest", "goal"]]
    for each in found:
        worst, ratio = max(each.point_ms), _ratio(each.point_ms, found[0].point_ms)
        met = "met" if worst <= GOAL_POINT_MS and ratio <= GOAL_RATIO else "missed"
        rows.append(
            [
                format_size(each.volume_bytes),
                f"{statistics.median(each.point_ms):.1f} ms",
                f"{worst:.1f} ms",
                f"{statistics.median(each.other_ms):.1f} ms",
                f"{ratio:.2f}",
                f"worst <= {GOAL_POINT_MS:.0f} ms, ratio <= {GOAL_RATIO}: {met}",
            ]
        )
    return rows


def rewinds_table(found: list[Rewinds]) -> Table:
    """One row per case."""
    columns = ("pause", "middle half", ": first", "command", "clone mounted", "first byte", "goal")
    rows = [["data, history", *columns]]
    for each in found:
        pause, ratio = spread(each.pause_ms), _ratio(each.pause_ms, found[0].pause_ms)
        first_byte_ms = statistics.median(each.first_byte_ms)
        is_met = pause.median <= GOAL_PAUSE_MS and ratio <= GOAL_RATIO
        is_met = is_met and first_byte_ms <= GOAL_FIRST_BYTE_MS
        rows.append(
            [
                each.case.name,
                f"{pause.median:.0f} ms",
                f"{pause.between_quartiles:.0%}",
                f"{ratio:.2f}",
                f"{statistics.median(each.restore_seconds):.1f} s",
                f"{statistics.median(each.clone_seconds):.1f} s",
                f"{first_byte_ms:.1f} ms",
                "met" if is_met else "missed",
            ]
        )
    return rows


def _ratio(values: list[float], first: list[float]) -> float:
    """Median of the ratios of each round."""
    return statistics.median(one / other for one, other in zip(values, first, strict=True))


_NOTES = (
    "Volumes of one run, alternating; ratios are made round by round.",
    "points: the longest wait of a writer (64 bytes and fdatasync, again and again) from before"
    " `point create` until it has ended; `without`: with `point list`, which asks no gate.",
    f"rewind: {USERS} processes with {DESCRIPTORS} descriptors each; pause: the longest that one of"
    " them stood, from the receipt. `command`: all of `restore --at`, which makes the image of the"
    f" moment and copies from it before anybody stands. Goal: pause <= {GOAL_PAUSE_MS:.0f} ms,"
    f" ratio <= {GOAL_RATIO}, first byte <= {GOAL_FIRST_BYTE_MS:.0f} ms.",
)


def show(points: list[Stalls], rewinds: list[Rewinds]) -> str:
    """For a terminal."""
    parts = [aligned(points_table(points))] if points else []
    parts += [aligned(rewinds_table(rewinds))] if rewinds else []
    return "\n\n".join([*parts, "\n".join(_NOTES)])


def write(
    folder: Path, points: list[Stalls], rewinds: list[Rewinds], facts: dict[str, Any]
) -> None:
    """Write rewind.json and rewind.md into `folder`."""
    values = {
        "host": facts,
        "points": [asdict(each) for each in points],
        "rewinds": [asdict(each) for each in rewinds],
    }
    (folder / "rewind.json").write_text(json.dumps(values, indent=1) + "\n")
    parts = ["# Back in time", ", ".join(f"{key} {value}" for key, value in facts.items())]
    parts += [markdown(points_table(points))] if points else []
    parts += [markdown(rewinds_table(rewinds))] if rewinds else []
    parts.append("\n".join(f"- {line}" for line in _NOTES))
    (folder / "rewind.md").write_text("\n\n".join(parts) + "\n")
