"""A process that keeps everybody else from opening a block device: hanging_reader."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.leftovers import process_state
from tests.waiting import wait_until


def hanging_reader(device: str) -> subprocess.Popen[bytes]:
    """Killed while it read a device that hangs: it waits in close(2), and whoever opens it waits.

    Again where somebody else had it open, to look: he has to close it.
    """
    while (reader := _killed_reader(device)).poll() is not None:
        pass
    return reader


def _killed_reader(device: str) -> subprocess.Popen[bytes]:
    reader = subprocess.Popen(["dd", f"if={device}", "of=/dev/null", "count=1"])
    wait_until(lambda: process_state(reader.pid) == "D")
    reader.kill()
    wait_until(lambda: process_state(reader.pid) == "Z" or _closes(reader.pid))
    return reader


def _closes(pid: int) -> bool:
    """Whether it waits in close(2), or in open(2) for somebody who does."""
    process = Path("/proc", str(pid))
    at_end = not any((process / "fd").iterdir()) or "open" in (process / "wchan").read_text()
    return at_end and process_state(pid) == "D"
