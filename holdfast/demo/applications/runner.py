"""The loop around every demo application: operate, count, measure, stop on SIGTERM.

Invariant: an operation is acknowledged only after it returned without an error. An error is
counted and the application goes on; it never retries silently.
"""

from __future__ import annotations

import argparse
import json
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, field
from pathlib import Path
from types import FrameType
from typing import Protocol

from holdfast.demo.applications.progress import Progress
from holdfast.late_dataclass import dataclass

PAUSE_SECONDS = 0.001
"""Between two operations: three applications share two cores with the gate that serves them."""

ERROR_PAUSE_SECONDS = 0.05
ERRORS_KEPT = 10

Verify = Callable[[Path, int], list[str]]


class DemoApplication(Protocol):
    """An application at work in one directory."""

    def operate(self) -> int:
        """One operation, made durable; returns its number. Raises OSError, sqlite3.Error."""
        ...

    def close(self) -> None:
        """Let go of every file. Raises OSError, sqlite3.Error."""
        ...


@dataclass
class Result:
    """What an application reports at its end."""

    name: str
    operations: int = 0
    acknowledged: int = 0
    errors: int = 0
    first_errors: list[str] = field(default_factory=list)
    longest_wait_ms: float = 0.0
    longest_wait_at: float = 0.0
    """CLOCK_MONOTONIC seconds at which the longest operation began."""


class GarbledError(OSError):
    """The application read something else than it had written."""


def work(
    name: str,
    opening: Callable[[], DemoApplication],
    progress: Progress,
    *,
    wanted: Callable[[], bool],
    pause_seconds: float = PAUSE_SECONDS,
) -> Result:
    """Operate while `wanted()`. Blocks as long as the storage blocks."""
    result = Result(name)
    application = opening()
    while wanted():
        progress.begin(time.monotonic_ns())
        try:
            progress.acknowledge(application.operate())
        except (OSError, sqlite3.Error) as error:
            progress.fail()
            if len(result.first_errors) < ERRORS_KEPT:
                result.first_errors.append(f"{type(error).__name__}: {error}")
            progress.finish(time.monotonic_ns())
            time.sleep(ERROR_PAUSE_SECONDS)
        else:
            progress.finish(time.monotonic_ns())
            time.sleep(pause_seconds)
    try:
        application.close()
    except (OSError, sqlite3.Error) as error:
        progress.fail()
        result.first_errors.append(f"on closing: {type(error).__name__}: {error}")
    end = progress.read()
    result.operations, result.acknowledged = end.operations, end.acknowledged
    result.errors = end.errors
    result.longest_wait_ms = end.longest_wait_ns / 1e6
    result.longest_wait_at = end.longest_wait_at_ns / 1e9
    return result


def main(name: str, opening: Callable[[Path], DemoApplication], verify: Verify) -> None:
    """Command line of an application: run until SIGTERM (or --operations), or --verify.

    Prints one JSON object. Exit status: 0 no error, 1 errors counted or faults found.
    """
    parser = argparse.ArgumentParser(prog=name)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--progress", type=Path, help="progress file, outside of the volume")
    parser.add_argument("--report", type=Path, help="write the result here too")
    parser.add_argument("--operations", type=int, default=0, help="stop by itself after so many")
    parser.add_argument("--pause", type=float, default=PAUSE_SECONDS, help="seconds in between")
    parser.add_argument("--verify", action="store_true", help="check instead of running")
    parser.add_argument("--acknowledged", type=int, default=0, help="for --verify")
    arguments = parser.parse_args()
    if arguments.verify:
        acknowledged = arguments.acknowledged
        if arguments.progress:
            with Progress(arguments.progress) as progress:
                acknowledged = progress.read().acknowledged
        faults = verify(arguments.directory, acknowledged)
        print(json.dumps({"name": name, "acknowledged": acknowledged, "faults": faults}))
        sys.exit(1 if faults else 0)
    if arguments.progress is None:
        parser.error("--progress is needed")

    stopping = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    # Ctrl-C at the demo reaches the whole foreground group; the demo itself ends its applications.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Progress(arguments.progress) as progress:
        limit = progress.read().operations + arguments.operations if arguments.operations else None
        result = work(
            name,
            lambda: opening(arguments.directory),
            progress,
            wanted=lambda: not stopping and (limit is None or progress.read().operations < limit),
            pause_seconds=arguments.pause,
        )
    text = json.dumps(asdict(result))
    if arguments.report:
        arguments.report.write_text(text)
    with suppress(BrokenPipeError):
        print(text, flush=True)
    sys.exit(1 if result.errors else 0)
