"""`holdfast users NAME`: JSON and a readable tree, for a volume that Holdfast made."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RunHoldfast
from tests.kernel.users.programs import program

SOURCE = """
f = os.open(point + '/ledger', os.O_CREAT | os.O_RDWR)
os.write(f, b'12345')
os.fsync(f)
fcntl.flock(f, fcntl.LOCK_EX)
os.chdir(point)
def write():
    while True:
        os.pwrite(f, bytes(4096), 0)
        os.fsync(f)
        time.sleep(0.01)
threading.Thread(target=write, daemon=True).start()
"""


@pytest.fixture
def volume(run_holdfast: RunHoldfast, disk_directory: Path) -> Any:
    place = disk_directory / "shop"
    run_holdfast("volume", "create", "shop", "--size", "64M", "--mount", place)
    yield place
    run_holdfast("volume", "delete", "shop", "--yes")


def test_users_of_a_volume(run_holdfast: RunHoldfast, volume: Path) -> None:
    assert "nobody uses shop" in run_holdfast("users", "shop").stderr
    with program(SOURCE, volume) as process:
        usage = run_holdfast("users", "shop", "--watch", "300ms", json=True)
        tree = run_holdfast("users", "shop").stdout
    assert (usage["volume"], usage["mount"]) == ("shop", str(volume))
    user = next(each for each in usage["users"] if each["pid"] == process.pid)
    handles = {handle["kind"]: handle for handle in user["handles"]}
    assert set(handles) == {"file", "working-directory"}
    assert handles["file"]["offset"] == 5
    flock = {"kind": "flock", "mode": "write", "start": 0, "end": None, "holder_pid": process.pid}
    assert handles["file"]["locks"] == [flock]
    assert user["user_id"] == os.geteuid()
    assert user["written_bytes"] > 0
    transfer = next(each for each in usage["transfers"] if each["pid"] == process.pid)
    assert transfer["written_bytes_per_second"] > 0
    assert f"process {process.pid}" in tree
    row = next(line for line in tree.splitlines() if f"{volume}/ledger" in line)
    assert "flock write lock" in row
    assert not any(line != line.rstrip() for line in tree.splitlines())
    run_holdfast("volume", "detach", "shop")
    refused = run_holdfast("users", "shop", check=False)
    assert refused.returncode == 6, refused
    assert "error[DETACHED]" in refused.stderr


def test_a_volume_that_does_not_exist(run_holdfast: RunHoldfast) -> None:
    result = run_holdfast("users", "shop", check=False)
    assert result.returncode != 0
    assert "mend:" in result.stderr
