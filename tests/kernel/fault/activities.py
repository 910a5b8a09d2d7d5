"""What an application does to a volume while a fault strikes: read, write, flush.

Each is a process of its own (it may hang in the kernel, and a test must not), and judges every
answer it gets. `reading` and `writing` pass the page cache by, so that each operation is a request
to the gate; `flushing` appends lines and makes each durable, through the file system's own log.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from holdfast.demo.applications import appender, mapper
from holdfast.demo.applications.mapper import FILE_NAME, PAGE_BYTES, PAGES, content, page_of
from holdfast.demo.applications.progress import Progress, Snapshot
from holdfast.demo.applications.runner import DemoApplication, GarbledError, Result, Verify, main
from tests.waiting import step_after

REPOSITORY = Path(__file__).parents[3]
FLUSH_EVERY = 32
STOP_TIMEOUT_SECONDS = 20.0


class Pages:
    """The file FILE_NAME, each page written and read past the page cache."""

    def __init__(self, directory: Path) -> None:
        flags = os.O_RDWR | os.O_DIRECT | os.O_CLOEXEC
        self.descriptor = os.open(directory / FILE_NAME, flags)
        self._buffer = mmap.mmap(-1, PAGE_BYTES)

    def write(self, number: int) -> None:
        """Write the page of that number. Raises OSError."""
        self._buffer[:] = content(number)
        os.pwrite(self.descriptor, self._buffer, page_of(number) * PAGE_BYTES)

    def check(self, number: int) -> None:
        """Read the page of that number, which must be its newest. Raises OSError, GarbledError."""
        self._buffer[:] = bytes(PAGE_BYTES)
        os.preadv(self.descriptor, [self._buffer], page_of(number) * PAGE_BYTES)
        if self._buffer[:] != content(number):
            raise GarbledError(f"page {page_of(number)} is not what {number} wrote")

    def close(self) -> None:
        """Make everything durable and close. Raises OSError."""
        try:
            os.fdatasync(self.descriptor)
        finally:
            os.close(self.descriptor)


def prepare(directory: Path) -> None:
    """Every page once, durable: what reading reads and writing overwrites; no line yet.

    With the empty file there, an appender that starts while everything is withheld opens it from
    the cache, and its first line is what waits.
    """
    pages = b"".join(content(number) for number in sorted(range(1, PAGES + 1), key=page_of))
    with (directory / FILE_NAME).open("wb") as file:
        file.write(pages)
        file.flush()
        os.fsync(file.fileno())
    with (directory / appender.FILE_NAME).open("ab") as file:
        os.fsync(file.fileno())


class Reader(Pages):
    """Reads pages at random."""

    def operate(self) -> int:
        self.check(random.randint(1, PAGES))
        return PAGES


class Writer(Pages):
    """Overwrites page after page, and makes them durable from time to time."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._number = self._durable = PAGES

    def operate(self) -> int:
        number = self._number + 1
        self.write(number)
        self._number = number
        if number % FLUSH_EVERY == 0:
            os.fdatasync(self.descriptor)
            self._durable = number
        self.check(random.randint(number - PAGES + 1, number))
        return self._durable


PROGRAMS: dict[str, tuple[Callable[[Path], DemoApplication], Verify]] = {
    "reading": (Reader, mapper.verify),
    "writing": (Writer, mapper.verify),
    "flushing": (appender.Appender, appender.verify),
}


class Activity:
    """An activity at work in `directory`; its progress file lies in `outside`."""

    def __init__(self, name: str, directory: Path, outside: Path) -> None:
        self.name = name
        self.directory = directory
        self.progress = Progress(outside / f"{name}.progress")
        command = [sys.executable, "-m", "tests.kernel.fault.activities", name, str(directory)]
        command += [f"--progress={outside / f'{name}.progress'}", "--pause=0.001"]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=REPOSITORY,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(STOP_TIMEOUT_SECONDS)
        for stream in (self.process.stdout, self.process.stderr):
            if stream:
                stream.close()
        self.progress.close()

    def snapshot(self) -> Snapshot:
        """Its progress now; works while it hangs and after its death."""
        return self.progress.read()

    def goes_on(self, operations: int = 5, timeout_seconds: float = 45.0) -> None:
        """Wait until it has done so many operations more; fails the test when it does not."""
        target = self.snapshot().operations + operations
        begun = time.monotonic()
        while self.snapshot().operations < target:
            assert self.process.poll() is None, self._last_words()
            waited = time.monotonic() - begun
            assert waited < timeout_seconds, f"it does not go on: {self.snapshot()}"
            time.sleep(step_after(waited))

    def waits(self, seconds: float = 0.2, timeout_seconds: float = 45.0) -> None:
        """Wait until one operation has been under way for that long."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            since = self.snapshot().waiting_since_ns
            if since and time.monotonic_ns() - since > seconds * 1e9:
                return
            assert self.process.poll() is None, self._last_words()
            assert time.monotonic() < deadline, "nothing is withheld from it"
            time.sleep(0.005)

    def stop(self) -> Result:
        """Let it end after its operation, all of it durable; its result."""
        self.process.send_signal(signal.SIGTERM)
        output, words = self.process.communicate(timeout=STOP_TIMEOUT_SECONDS)
        assert output, f"{self.name} died ({self.process.returncode}): {words.decode()}"
        return Result(**json.loads(output))

    def verify(self, directory: Path, acknowledged: int) -> list[str]:
        """Faults in what it left in this directory."""
        return PROGRAMS[self.name][1](directory, acknowledged)

    def _last_words(self) -> str:
        assert self.process.stdout and self.process.stderr
        return (self.process.stdout.read() + self.process.stderr.read()).decode()


if __name__ == "__main__":
    program = sys.argv.pop(1)
    opening, verify = PROGRAMS[program]
    main(program, opening, verify)
