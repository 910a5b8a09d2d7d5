"""What becomes of each fault of storage while the daemon watches and nobody types: when it is
detected, when applications go on, when somebody has been told. Gated and adopted volumes.

The application writes 4 KiB and syncs, every few milliseconds, and opens its file anew after an
error. Its figure is the longest time without a write that succeeded, from the fault on.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.commands import BenchmarkError, run, wait_until
from benchmarks.comparison import say
from benchmarks.report import Table, aligned, markdown
from benchmarks.subjects import HoldfastVolume, remove_folder
from holdfast.gate.outside.client import read_counters
from tests.faults import FuseLeg, truncate_to_zero
from tests.faults.own_disk import shut_down

VOLUME_BYTES, LEG_BYTES = 64 << 20, 80 << 20
TOLD_SECONDS = 120.0
"""A canary waits for half a minute, and two looks, before it says that storage hangs."""

AFTER_SECONDS = 2.0
"""For which it is watched whether the application goes on."""

TWO, ONE, ADOPTED = "two legs", "one leg", "adopted"


class Application:
    """Writes and syncs one file, over and over, in a process of its own; see steady_writer."""

    def __init__(self, path: Path, log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.steady_writer", path],
                stdout=output,
                cwd=Path(__file__).parents[1],
            )

    def attempts(self, word: str) -> list[float]:
        """When they had ended so; Unix seconds."""
        pairs = (line.split() for line in self._log.read_text().splitlines())
        return [float(pair[1]) for pair in pairs if len(pair) == 2 and pair[0] == word]

    def end(self) -> None:
        """Storage that it hangs in must have been brought back."""
        self._process.kill()
        self._process.wait(60.0)

    def longest_wait(self, since: float) -> float:
        """Seconds without a success, from then until now."""
        times = [each for each in self.attempts("ok") if each > since]
        ends = [since, *times, time.time()]
        return max(b - a for a, b in pairwise(ends))

    def goes_on(self) -> bool:
        """Whether it has succeeded just now."""
        return time.time() - self.attempts("ok")[-1] < 0.5


@dataclass
class Host:
    """One volume, its storage, and what may happen to it."""

    folder: Path
    volume: str
    path: Path
    command: Callable[..., str]
    legs: dict[int, FuseLeg] = field(default_factory=dict)
    device: str = ""
    run_directory: Path = Path()

    @property
    def leg(self) -> FuseLeg:
        """The last one."""
        return self.legs[max(self.legs)]

    def told(self) -> list[dict[str, Any]]:
        """Messages of this volume, in order, with the time at which they arrived."""
        log = self.folder / "told"
        lines = log.read_text().splitlines() if log.exists() else []
        pairs = zip(lines[::2], lines[1::2], strict=False)
        found = [{**json.loads(text), "arrived": float(at)} for text, at in pairs]
        return [each for each in found if each["volume"] == self.volume]

    def kill(self, which: str) -> None:
        """A process of the gate."""
        counters = read_counters(self.run_directory)
        if counters is None:
            raise BenchmarkError("the gate is gone")
        os.kill(getattr(counters, f"{which}_pid"), signal.SIGKILL)

    def damage(self) -> None:
        """A block of a directory's, on the device; and somebody looks into it."""
        where = run("debugfs", "-R", "blocks /folder", self.device).split()[0]
        disk = os.open(self.device, os.O_WRONLY)
        os.pwrite(disk, b"\xff" * 4096, int(where) * 4096)
        os.fsync(disk)
        os.posix_fadvise(disk, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(disk)
        with suppress(OSError):
            (self.path / "folder/file").open().close()

    def refuse(self) -> None:
        """ext4 turns read-only, as after an error of its disk."""
        name = Path(self.device).name
        Path(f"/sys/fs/ext4/{name}/trigger_fs_error").write_text("by the benchmark")

    def fill(self) -> None:
        """All room of its file system is taken."""
        with (self.path / "ballast").open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(1 << 20))

    def hide(self) -> None:
        """Something else is mounted over it."""
        run("mount", "-t", "tmpfs", "hiding", self.path)


@dataclass(frozen=True)
class Fault:
    """What is done to a volume of that kind, and how it ends."""

    kind: str
    name: str
    strike: Callable[[Host], object]
    end: Callable[[Host], object] = lambda host: None
    outcome: str = ""
    """As documented."""
    is_told: bool = True
    """Else it is over before anybody could do anything, and has a receipt."""
    restores: bool = False
    """Its policy restores it from a copy."""


def _serve(host: Host) -> None:
    host.leg.serve()


HELD = "held; goes on when it is back"
FAILED_OVER = "goes on with the other leg"
FAULTS = (
    Fault(TWO, "a leg answers EIO", lambda host: host.leg.error(errno.EIO), _serve, FAILED_OVER),
    Fault(TWO, "a leg hangs", lambda host: host.leg.hang(), _serve, FAILED_OVER),
    Fault(TWO, "a leg's server dies", lambda host: host.leg.kill(), lambda host: host.leg.start(),
          FAILED_OVER),
    Fault(TWO, "a leg refuses writes", lambda host: host.leg.read_only(), _serve, FAILED_OVER),
    Fault(TWO, "a leg is full", lambda host: host.leg.full_after(0), _serve, FAILED_OVER),
    Fault(TWO, "a leg's image is emptied",
          lambda host: truncate_to_zero(host.leg.image), outcome=FAILED_OVER),
    Fault(TWO, "the worker is killed", lambda host: host.kill("worker"), outcome="taken over",
          is_told=False),
    Fault(TWO, "the keeper is killed", lambda host: host.kill("keeper"), outcome="taken over",
          is_told=False),
    Fault(ONE, "the leg answers EIO", lambda host: host.leg.error(errno.EIO), _serve, HELD),
    Fault(ONE, "the leg hangs", lambda host: host.leg.hang(), _serve, HELD),
    Fault(ONE, "the leg's server dies", lambda host: host.leg.kill(),
          lambda host: host.leg.start(), HELD),
    Fault(ONE, "the leg refuses writes", lambda host: host.leg.read_only(), _serve, HELD),
    Fault(ONE, "the leg is full", lambda host: host.leg.full_after(0), _serve,
          "held for room; goes on when there is some"),
    Fault(ADOPTED, "ext4 turns read-only", Host.refuse, outcome="told"),
    Fault(ADOPTED, "ext4 turns read-only, restored by policy", Host.refuse,
          outcome="restored from the copy", restores=True),
    Fault(ADOPTED, "everything fails, restored by policy", lambda host: shut_down(host.path),
          outcome="restored from the copy", restores=True),
    Fault(ADOPTED, "its storage answers EIO", lambda host: host.leg.error(errno.EIO), _serve,
          "told"),
    Fault(ADOPTED, "its storage hangs", lambda host: host.leg.hang(), _serve,
          "told; goes on when it answers"),
    Fault(ADOPTED, "its metadata is damaged", Host.damage, outcome="told"),
    Fault(ADOPTED, "it is full", Host.fill, outcome="told"),
    Fault(ADOPTED, "it is dismounted", lambda host: run("umount", "--lazy", host.path),
          outcome="told"),
    Fault(ADOPTED, "it is mounted over", Host.hide,
          lambda host: run("umount", host.path), "told; open files serve"),
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What became of one fault. Seconds after it."""

    kind: str
    fault: str
    outcome: str
    detected: float | None
    """When the daemon saw it first; None: it has a receipt, and nothing is wrong any more."""
    told: float | None
    """When the message had arrived."""
    words: str
    waited: float
    """The longest time without a write that succeeded."""
    errors: int
    """Calls of the application that failed."""
    went_on: bool
    """By itself, while the fault lasted."""
    receipts: int


def measure(parent: Path, only: str = "") -> tuple[list[Outcome], list[str]]:
    """Each fault on a volume of its own; and which could not be measured, and why."""
    courses: list[Outcome] = []
    missing: list[str] = []
    for fault in FAULTS:
        if only and only not in f"{fault.kind}: {fault.name}":
            continue
        folder = Path(tempfile.mkdtemp(prefix="hf-disruption-", dir=parent))
        try:
            courses.append(_course(folder, fault))
            say(f"{fault.kind}: {fault.name}: {courses[-1]}")
        except (BenchmarkError, OSError, subprocess.SubprocessError) as error:
            missing.append(f"{fault.kind}: {fault.name}: {error}")
            say(missing[-1])
        finally:
            remove_folder(folder)
    return courses, missing


def _course(folder: Path, fault: Fault) -> Outcome:
    host_of = _adopted if fault.kind == ADOPTED else partial(_gated, legs=1 + (fault.kind == TWO))
    with host_of(folder, fault) as host, _watching(host):
        application = Application(host.path / "work", folder / "attempts")
        wait_until(lambda: len(application.attempts("ok")) > 20, "the application writes")
        before = len(_receipts(host))
        since = time.time()
        try:
            fault.strike(host)
            message = _raised(host, since) if fault.is_told else None
            if not fault.is_told:
                wait_until(lambda: len(_receipts(host)) > before, "its receipt", 60.0)
            if fault.restores:
                wait_until(application.goes_on, "it is restored", 120.0)
            time.sleep(AFTER_SECONDS)
            goes_on, waited = application.goes_on(), application.longest_wait(since)
            errors = len(application.attempts("error"))
        finally:
            fault.end(host)
            application.end()
        detected = None if message is None else max(0.0, message["since"] - since)
        told = None if message is None else message["arrived"] - since
        words = "" if message is None else message["words"]
        receipts = len(_receipts(host)) - before
        return Outcome(
            *(fault.kind, fault.name, fault.outcome, detected, told, words),
            *(waited, errors, goes_on, receipts),
        )


def _raised(host: Host, since: float) -> dict[str, Any]:
    def found() -> list[dict[str, Any]]:
        return [each for each in host.told() if each["at"] >= since and each["kind"] == "raised"]

    wait_until(lambda: bool(found()), "somebody is told", TOLD_SECONDS)
    return found()[0]


def _receipts(host: Host) -> list[Any]:
    return list(json.loads(host.command("receipt", "list", host.volume, "--json")))


@contextmanager
def _gated(folder: Path, fault: Fault, legs: int) -> Iterator[Host]:
    with ExitStack() as stack:
        served = FuseLeg(folder / "leg.img", folder / "served", LEG_BYTES)
        stack.enter_context(served)
        urls = [served.url, *(f"file:{folder}/other.img" for _ in range(legs - 1))]
        # The one that is read is not the one that fails.
        volume = stack.enter_context(HoldfastVolume(folder, urls[::-1], size_bytes=VOLUME_BYTES))
        yield Host(
            *(folder, volume.name, volume.directory, volume.command, {1: served}),
            run_directory=volume.run_directory,
        )


@contextmanager
def _adopted(folder: Path, fault: Fault) -> Iterator[Host]:
    with ExitStack() as stack:
        served = FuseLeg(folder / "disk.img", folder / "served", LEG_BYTES)
        stack.enter_context(served)
        run("mkfs.ext4", "-q", "-b", "4096", served.path)
        device = run("losetup", "--find", "--show", served.path).strip()
        stack.callback(subprocess.run, ["losetup", "--detach", device], check=False)
        path, home = folder / "mount", folder / "home"
        path.mkdir()
        home.mkdir()
        run("mount", "-o", "errors=remount-ro", device, path)
        stack.callback(_dismount, path)
        (path / "folder").mkdir()
        (path / "folder/file").touch()
        run("umount", path)  # so that nothing of it is in memory
        run("mount", "-o", "errors=remount-ro", device, path)
        volume = HoldfastVolume(folder, [], size_bytes=VOLUME_BYTES)
        volume.command("volume", "adopt", volume.name, str(path))
        if fault.restores:
            _arm(folder, device, path, volume)
        yield Host(folder, volume.name, path, volume.command, {1: served}, device)


def _arm(folder: Path, device: str, path: Path, volume: HoldfastVolume) -> None:
    """A copy as a good backup makes it, an hour ago, and a policy that takes it."""
    copy = folder / "copy.img"
    run("fsfreeze", "--freeze", path)
    try:
        run("cp", "--sparse=always", device, copy)
    finally:
        run("fsfreeze", "--unfreeze", path)
    then = time.time() - 3600.0
    os.utime(copy, (then, then))
    words = ("--on-loss", "restore", "--from", f"file:{copy}", "--to", f"file:{folder}/new.img")
    volume.command("policy", "set", volume.name, *words, "--after", "0s")


def _dismount(path: Path) -> None:
    while subprocess.run(["umount", path], check=False, capture_output=True).returncode == 0:
        pass


@contextmanager
def _watching(host: Host) -> Iterator[None]:
    """The daemon, as it is installed, and somebody who is told."""
    pager = host.folder / "pager"
    log = host.folder / "told"
    pager.write_text(f"#!/bin/sh\n{{ cat; echo; date +%s.%N; }} >> {log}\n")
    pager.chmod(0o755)
    host.command("alert", "add", f"command:{pager}")
    environment = {**os.environ, "HOLDFAST_HOME": str(host.folder / "home")}
    program = Path(sys.executable).with_name("holdfast")
    with (host.folder / "daemon.log").open("wb") as said:
        process = subprocess.Popen([program, "daemon"], env=environment, stderr=said)
        try:
            watching = host.folder / "daemon.log"
            wait_until(lambda: b"watching" in watching.read_bytes(), "the daemon watches")
            time.sleep(1.0)  # its first look is over
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


def table(courses: list[Outcome]) -> Table:
    """A header, then one row per fault."""
    rows = [["volume", "fault", "what happens", "detected", "told", "waited", "errors", "receipts"]]
    for each in courses:
        waited = f"{each.waited:.2f} s" if each.went_on else "until it is back"
        if each.kind == ADOPTED and not each.went_on and "goes on" not in each.outcome:
            waited = "until somebody acts"
        detected, told = (
            "receipt only" if seconds is None else f"{seconds:.1f} s"
            for seconds in (each.detected, each.told)
        )
        errors = "none" if not each.errors else "until then" if each.went_on else "all"
        rows.append(
            [each.kind, each.fault, each.outcome, detected, told, waited, errors,
             str(each.receipts)]
        )  # fmt: skip
    return rows


def show(courses: list[Outcome]) -> str:
    """For a terminal."""
    return aligned(table(courses))


def write(folder: Path, courses: list[Outcome], missing: list[str], facts: dict[str, Any]) -> None:
    """disruptions.md and disruptions.json."""
    values = {"host": facts, "courses": [asdict(each) for each in courses], "missing": missing}
    (folder / "disruptions.json").write_text(json.dumps(values, indent=1) + "\n")
    lines = ["# Disruptions, with the daemon running and nobody typing", "", *_facts(facts), ""]
    lines += [markdown(table(courses)), *(f"- not measured: {each}" for each in missing), ""]
    (folder / "disruptions.md").write_text("\n".join(lines))


def _facts(facts: dict[str, Any]) -> list[str]:
    return [f"- {name}: {value}" for name, value in facts.items()]
