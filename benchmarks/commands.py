"""Running other programs for a benchmark: they succeed, or the benchmark says why not."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


class BenchmarkError(Exception):
    """A subject or a workload cannot run on this host, in words."""


def run(*command: str | Path, environment: dict[str, str] | None = None) -> str:
    """Standard output of a command. Raises BenchmarkError with its words when it fails."""
    words = [str(word) for word in command]
    if shutil.which(words[0]) is None:
        raise BenchmarkError(f"{words[0]} is not installed")
    result = subprocess.run(
        words,
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    if result.returncode:
        text = result.stderr.strip() or result.stdout.strip()
        raise BenchmarkError(f"{' '.join(words)}: exit status {result.returncode}: {text}")
    return result.stdout


def start(*command: str | Path, log: Path) -> subprocess.Popen[bytes]:
    """A program in a session of its own: Ctrl-C reaches us, and we end it in order."""
    if shutil.which(str(command[0])) is None:
        raise BenchmarkError(f"{command[0]} is not installed")
    with log.open("ab") as output:
        return subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def wait_until(ready: Callable[[], bool], what: str, timeout_seconds: float = 20.0) -> None:
    """Poll until `ready()`; an OSError counts as not ready. Raises BenchmarkError."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        with suppress(OSError):
            if ready():
                return
        if time.monotonic() > deadline:
            raise BenchmarkError(f"{what}: not within {timeout_seconds:.0f} s")
        time.sleep(0.005)
