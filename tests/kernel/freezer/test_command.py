"""Freezing processes as typed: who, by what, for how long, and what the receipt says."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from holdfast.system.processes.process_state import read_state

Run = Callable[..., Any]


def test_freeze_and_thaw_processes(
    run_holdfast: Run, ram_directory: Path, disk_directory: Path
) -> None:
    """Two applications that stand in the volume; one stays out of it."""
    mount = disk_directory / "mnt"
    leg = f"--leg=file:{ram_directory}/1.img"
    run_holdfast("volume", "create", "bank", "--size", "64M", "--mount", mount, leg)
    users = [subprocess.Popen(["sleep", "600"], cwd=mount) for _ in range(2)]
    stranger = subprocess.Popen(["sleep", "600"], cwd=disk_directory)
    pids = {user.pid for user in users}
    try:
        planned = run_holdfast("freeze", "bank", "--by", "signal", "--dry-run", json=True)
        assert {process["pid"] for process in planned["would"]["processes"]} == pids
        assert state(users[0].pid) == "S"
        text = run_holdfast("freeze", "bank", "--by", "signal", "--dry-run").stdout
        assert all(str(pid) in text for pid in pids)

        done = run_holdfast("freeze", "bank", "--by", "signal", json=True)
        assert {process["pid"] for process in done["processes"]} == pids
        assert [state(pid) for pid in pids] == ["T", "T"]
        assert state(stranger.pid) == "S"

        receipt = run_holdfast("thaw", "bank", json=True)
        assert {process["pid"] for process in receipt["processes"]} == pids
        assert all(process["frozen_ms"] > 0 for process in receipt["processes"])
        assert "T" not in [state(pid) for pid in pids]
        (listed,) = [
            each
            for each in run_holdfast("receipt", "list", "bank", json=True)
            if each["strategy"] == "freeze"
        ]
        assert listed["id"] == receipt["id"]
    finally:
        run_holdfast("thaw", "bank", check=False)
        for process in (*users, stranger):
            process.kill()
            process.wait()
        run_holdfast("volume", "delete", "bank", "--yes")


def state(pid: int) -> str:
    found = read_state(pid)
    return found.state if found is not None else ""
