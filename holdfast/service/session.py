"""Holdfast on this host as a program of ours has it: what it decides is logged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.config import Settings
from holdfast.service.holdfast import Holdfast
from holdfast.system.messages import logs, unwaited

LOG_FILE = "holdfast.log"
"""In the state directory, where there is no systemd journal."""


@contextmanager
def opened(settings: Settings, process: str) -> Iterator[Holdfast]:
    """Holdfast, closed afterwards; `process` is what the log calls this one.

    Waits at the end, a second at most, until the log is written.
    """
    logs.set_up(process, write=logs.into_file(settings.state_directory / LOG_FILE))
    try:
        with Holdfast(settings) as holdfast:
            yield holdfast
    finally:
        unwaited.wait_until_written()
