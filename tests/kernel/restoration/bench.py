"""Volumes with a running application, for tests of restorations."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from holdfast.errors import InUse
from holdfast.system.storage.filesystem import make_filesystem
from holdfast.system.storage.loop import detach_loop, loop_devices
from tests.faults.mounting import mount_image
from tests.kernel.restoration.restored_application import RECORD
from tests.waiting import wait_until

SIZE_BYTES = 400 << 20
"""Enough for every file system (xfs needs 300 MiB)."""


@dataclass
class Application:
    """A running `restored_application`."""

    process: subprocess.Popen[bytes]
    directory: Path
    record: Path
    simple: bool = False

    @property
    def pid(self) -> int:
        return self.process.pid

    def progress(self) -> tuple[int, int, int]:
        """Acknowledged lines, errors, largest gap in microseconds."""
        data = self.record.read_bytes() if self.record.exists() else b""
        return RECORD.unpack(data) if len(data) == RECORD.size else (0, 0, 0)

    def wait_for_more(self, lines: int = 5) -> None:
        """Return when it has written so many lines more: it runs."""
        before = self.progress()[0]
        wait_until(lambda: self.progress()[0] >= before + lines)

    def verify(self, in_doubt: int = 0) -> int:
        """End it; every acknowledged line is there, in order. The number of lines.

        No line is there twice, but for as many as were `in_doubt`: carried out by a server that
        never said so, and made again.
        """
        self.process.terminate()
        assert self.process.wait(30) == 0
        lines, errors, _ = self.progress()
        assert errors == 0
        directory = self.directory
        written = read_lines(directory / "log", in_doubt)
        assert written == [str(number) for number in range(lines)]
        if self.simple:
            return lines
        counter = (directory / "counter").read_bytes()
        for place in (0, 4096):
            assert int.from_bytes(counter[place : place + 8], "little") == lines
        return lines


def read_lines(path: Path, in_doubt: int = 0) -> list[str]:
    """The lines of a log, without as many doubles as were in doubt."""
    lines = path.read_text().split("\n")[:-1]
    once = [line for number, line in enumerate(lines) if lines[number - 1 : number] != [line]]
    assert len(lines) - len(once) <= in_doubt
    return once


@contextmanager
def application(directory: Path, record: Path, simple: bool = False) -> Iterator[Application]:
    """One that has written some lines already; killed afterwards."""
    program = Path(__file__).with_name("restored_application.py")
    command = [sys.executable, str(program), str(directory), str(record)]
    command += ["simple"] if simple else []
    process = subprocess.Popen(
        command,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    running = Application(process, directory, record, simple)
    try:
        running.wait_for_more()
        yield running
    finally:
        process.kill()
        with suppress(subprocess.TimeoutExpired):  # inside a server that hangs, until that ends
            process.wait(10)
        assert process.stderr is not None
        os.set_blocking(process.stderr.fileno(), False)
        complaints = (process.stderr.read() or b"").decode()
        process.stderr.close()
        print(complaints)


def make_image(path: Path, filesystem: str = "ext4", size_bytes: int = SIZE_BYTES) -> Path:
    """A sparse image with a file system."""
    with path.open("wb") as file:
        file.truncate(size_bytes)
    make_filesystem(filesystem, str(path), "", str(uuid.uuid4()))
    return path


@contextmanager
def mounted(source: str | Path, path: Path, *options: str) -> Iterator[Path]:
    """An image (or device) mounted; whatever is there in the end is dismounted."""
    path.mkdir(exist_ok=True)
    if Path(source).is_file():
        mount_image(source, path, *options)
    else:
        words = ["-o", ",".join(options)] if options else []
        subprocess.run(["mount", *words, str(source), str(path)], check=True)
    try:
        yield path
    finally:
        while path.is_mount() or not _answers(path):
            done = subprocess.run(["umount", str(path)], check=False, capture_output=True)
            if done.returncode:
                subprocess.run(["umount", "--lazy", str(path)], check=True)
        detach_loops_in(path.parent)


def _answers(path: Path) -> bool:
    try:
        path.stat()
    except OSError:
        return False
    return True


def detach_loops_in(folder: Path) -> None:
    """Detach loop devices whose images lie in this folder."""
    for loop in loop_devices():
        if Path(loop.backing_file).parent == folder:
            with suppress(InUse):
                detach_loop(loop)


class Heartbeat:
    """An uninvolved process that notes the largest gap between two of its beats.

    Time in which it could run and waited for a processor (schedstat) is the host's load and not
    counted.
    """

    PROGRAM = """
import select, sys, time

def waited():
    with open("/proc/self/schedstat") as file:
        return int(file.read().split()[1]) / 1e9

worst, last, delay = 0.0, time.monotonic(), waited()
while not select.select([sys.stdin], [], [], 0.001)[0]:
    now, delayed = time.monotonic(), waited()
    worst = max(worst, now - last - (delayed - delay))
    last, delay = now, delayed
print(worst)
"""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", self.PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def largest_gap_seconds(self) -> float:
        """End it."""
        output, _ = self.process.communicate(b"\n", timeout=30)
        return float(output)

    def close(self) -> None:
        """Whatever happened."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


def state_of(pids: Sequence[int]) -> dict[int, tuple[object, ...]]:
    """What of processes a restoration could change: state, tracer, handles, maps, memory map."""
    found: dict[int, tuple[object, ...]] = {}
    for pid in pids:
        folder = Path(f"/proc/{pid}")
        links = {
            entry.name: (str(entry.readlink()), (folder / "fdinfo" / entry.name).read_text())
            for entry in (folder / "fd").iterdir()
        }
        status = (folder / "status").read_text()
        kept = [
            line
            for line in status.splitlines()
            if line.startswith(("TracerPid", "SigBlk", "Threads", "Uid"))
        ]
        maps = [line.split()[0] for line in (folder / "maps").read_text().splitlines()]
        found[pid] = (links, str((folder / "cwd").readlink()), kept, maps)
    return found


def is_settled(pid: int) -> bool:
    """Whether a process is not stopped by anybody."""
    status = Path(f"/proc/{pid}/status").read_text()
    return "TracerPid:\t0" in status and "State:\tT" not in status


def now() -> float:
    """Monotonic seconds."""
    return time.monotonic()
