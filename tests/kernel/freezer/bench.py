"""A mounted volume under programs that count, to be frozen: `FreezeBench`.

Time is told by a program that does not use the volume (the heartbeat): who counts nothing while it
counts on stands still.
"""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from holdfast.applications.freezers import FREEZERS
from holdfast.applications.freezers.freezing import Frozen, begin, end, frozen
from holdfast.applications.freezers.policy import FreezePlan, plan_freeze
from holdfast.applications.freezers.protocol import Occasion
from holdfast.applications.freezers.servers import Protection, ourselves, servers_below
from holdfast.applications.users import find_users
from holdfast.errors import HoldfastError
from holdfast.mountpoints.capture import capture
from holdfast.system.processes.process_state import read_state, threads_of
from tests.kernel.freezer.counting import CELL
from tests.waiting import wait_until

PROGRAM = Path(__file__).with_name("counting.py")
STANDSTILL_BEATS = 40
WHOLE_SECONDS = 60.0


@dataclass
class Counter:
    """One counting program with all its processes."""

    process: subprocess.Popen[bytes]
    cells: mmap.mmap
    size: int

    @property
    def pids(self) -> list[int]:
        """Its processes, the first one first."""
        folder = Path(f"/proc/{self.process.pid}/task")
        with suppress(OSError):
            words = [(each / "children").read_text().split() for each in folder.iterdir()]
            return [self.process.pid, *sorted(int(word) for line in words for word in line)]
        return [self.process.pid]

    @property
    def threads(self) -> list[int]:
        """All threads of all its processes."""
        return [thread for pid in self.pids for thread in threads_of(pid)]

    def values(self) -> list[int]:
        """What each thread has counted to."""
        return [CELL.unpack_from(self.cells, CELL.size * each)[0] for each in range(self.size)]

    def wait_for_progress(self, steps: int = 3) -> None:
        """Wait until every thread has counted on."""
        before = self.values()
        wait_until(
            lambda: all(
                now >= then + steps for now, then in zip(self.values(), before, strict=True)
            )
        )

    def kill(self) -> None:
        for pid in reversed(self.pids):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        wait_until(lambda: all(value is None for value in map(read_state, self.pids[1:])))


class FreezeBench:
    """One volume, adopted in spirit: a tmpfs of its own, and a home for the records."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mount = folder / "mnt"
        self.outside = folder / "outside"
        self.state = folder / "home" / "state"
        self.run = folder / "home" / "run"
        self.name = f"freeze-{os.getpid()}-{folder.name}"
        self.counters: list[Counter] = []
        for each in (self.mount, self.outside, self.state, self.run):
            each.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "hf-freeze", self.mount], check=True)
        self.heartbeat = self.count(1, 1, place=self.outside)

    def count(
        self,
        processes: int = 2,
        threads: int = 2,
        place: Path | None = None,
        *options: str,
    ) -> Counter:
        """Start a counting program; it counts when this returns."""
        file = self.outside / f"cells-{len(self.counters)}"
        size = processes * threads
        file.write_bytes(bytes(CELL.size * size))
        with file.open("r+b") as stream:
            cells = mmap.mmap(stream.fileno(), 0)
        command = [sys.executable, str(PROGRAM), str(file), str(processes), str(threads), *options]
        process = subprocess.Popen(command, cwd=place or self.mount, stdin=subprocess.DEVNULL)
        counter = Counter(process, cells, size)
        self.counters.append(counter)
        wait_until(lambda: all(counter.values()))
        return counter

    def plan(self, by: str | None = None) -> tuple[FreezePlan, Protection]:
        """Whom a freeze would stop, and who is protected."""
        points = capture(str(self.mount))
        protection = Protection(servers_below(points), ourselves())
        occasion = Occasion("0" * 32, self.name, 0)
        freezers = {name: make(occasion) for name, make in FREEZERS.items()}
        users = [each for each in find_users(points, ourselves=True) if not each.is_suspect]
        return plan_freeze(self.name, "adopted", users, protection, freezers, by), protection

    def freeze(self, by: str | None = None, seconds: float = WHOLE_SECONDS) -> Frozen:
        """Freeze everybody who uses the volume."""
        plan, protection = self.plan(by)
        points = capture(str(self.mount))
        return begin((self.state, self.run), plan, points, protection, seconds)

    def thaw(self) -> None:
        end(self.run, self.name)

    def keepers(self) -> list[int]:
        """Watchdog and guard."""
        record = frozen(self.run, self.name)
        return [pid for pid, _ in record.keepers] if record is not None else []

    def stands_still(self, counter: Counter) -> bool:
        """Whether nothing is counted while the heartbeat counts on."""
        before = counter.values()
        self.heartbeat.wait_for_progress(STANDSTILL_BEATS)
        return counter.values() == before

    def close(self) -> None:
        with suppress(HoldfastError):
            end(self.run, self.name)
        for counter in self.counters:
            counter.kill()
            counter.cells.close()
        deadline = time.monotonic() + 10
        while subprocess.run(["umount", self.mount], check=False).returncode:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@contextmanager
def freeze_bench(folder: Path) -> Iterator[FreezeBench]:
    """A bench that leaves nothing behind."""
    bench = FreezeBench(folder)
    try:
        yield bench
    finally:
        bench.close()


def states(counter: Counter) -> list[str]:
    """State letters of all its threads."""
    found = [read_state(pid, thread) for pid in counter.pids for thread in threads_of(pid)]
    return [each.state for each in found if each is not None]


def control_groups(pid: int) -> str:
    """The control groups of a process, version 1 included, but for memory's: whoever started the
    test run may dissolve that one at any time. No freezer touches it."""
    text = Path(f"/proc/{pid}/cgroup").read_text()
    return "".join(line for line in text.splitlines(keepends=True) if ":memory:" not in line)
