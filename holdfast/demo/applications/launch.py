"""Start, watch, stop and verify demo applications as processes of their own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from holdfast.demo.applications import appender, bank, mapper
from holdfast.demo.applications.progress import Progress, Snapshot
from holdfast.demo.applications.runner import PAUSE_SECONDS, Result, Verify

APPLICATIONS: dict[str, Verify] = {
    "bank": bank.verify,
    "appender": appender.verify,
    "mapper": mapper.verify,
}
"""Every application by name, with the function that verifies what it left."""

STOP_TIMEOUT_SECONDS = 60.0


class RunningApplication:
    """An application at work in `directory`; its progress file lies in `outside`.

    A context manager: at its end the process is gone, whatever it was waiting for.
    """

    def __init__(
        self, name: str, directory: Path, outside: Path, pause_seconds: float = PAUSE_SECONDS
    ) -> None:
        """Start it. Does not wait until it works: `wait_for` does."""
        self.name = name
        self.directory = directory
        self.progress = Progress(outside / f"{name}.progress")
        self._error_path = outside / f"{name}.stderr"
        with self._error_path.open("wb") as errors:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    f"holdfast.demo.applications.{name}",
                    str(directory),
                    f"--progress={outside / f'{name}.progress'}",
                    f"--pause={pause_seconds}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
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
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        self.progress.close()

    def snapshot(self) -> Snapshot:
        """Its progress now; works while it hangs and after its death."""
        return self.progress.read()

    def wait_for(self, condition: Callable[[Snapshot], bool], timeout_seconds: float) -> Snapshot:
        """Wait until its progress fulfils `condition`.

        Raises TimeoutError, or RuntimeError when the application has ended.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            now = self.snapshot()
            if condition(now):
                return now
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended ({self.process.returncode}): {self.words()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} is at {now} after {timeout_seconds} s")
            time.sleep(0.002)

    def stop(self, timeout_seconds: float = STOP_TIMEOUT_SECONDS) -> Result:
        """Ask it to end after its operation, and return its result.

        Raises subprocess.TimeoutExpired while it hangs, RuntimeError when it died otherwise.
        """
        self.process.send_signal(signal.SIGTERM)
        output, _ = self.process.communicate(timeout=timeout_seconds)
        if self.process.returncode not in (0, 1) or not output:
            raise RuntimeError(f"{self.name} died ({self.process.returncode}): {self.words()}")
        return Result(**json.loads(output))

    def verify(self, directory: Path | None = None, acknowledged: int | None = None) -> list[str]:
        """Faults in what it left, here or in a copy; compares with all that was acknowledged."""
        expected = self.snapshot().acknowledged if acknowledged is None else acknowledged
        return APPLICATIONS[self.name](directory or self.directory, expected)

    def words(self) -> str:
        """What it wrote to standard error."""
        return self._error_path.read_text(errors="replace").strip()
