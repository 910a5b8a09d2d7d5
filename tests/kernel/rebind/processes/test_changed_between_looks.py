"""Users change what they have after they were found, and before they are stopped: that counts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from holdfast.errors import Blocked
from tests.kernel.rebind.bench import Bench, Program
from tests.kernel.rebind.conftest import Hold

MANY = 10
"""Processes: with as many a child looks again."""

PROGRAM = """
import os, sys
path, others = sys.argv[1], []
file = os.open(path, os.O_RDWR | os.O_CREAT)
print("ready", flush=True)
for line in sys.stdin:
    word = line.strip()
    if word == "grow":
        others = [os.open(path + str(n), os.O_RDWR | os.O_CREAT) for n in range(3)]
        os.write(file, b"grown")
    if word == "become a device":
        os.unlink(path)
        os.close(file)
        os.mknod(path, 0o20600, os.makedev(1, 3))
        assert os.open(path, os.O_RDWR) == file
    for each in (file, *others):
        os.fstat(each)
    print("ok", flush=True)
"""


@pytest.fixture
def programs(bench: Bench, start: Hold) -> list[Program]:
    return [start(sys.executable, "-c", PROGRAM, bench.path / f"{n}-") for n in range(MANY)]


def test_new_handles_and_positions_are_moved(bench: Bench, programs: list[Program]) -> None:
    rebind = bench.rebind()
    for program in programs[::3]:
        assert program.ask("grow") == "ok"
    rebind.stop()
    try:
        numbers = sorted(len(user.handles) for user in rebind.users)
        assert numbers == sorted(4 if n % 3 == 0 else 1 for n in range(MANY))
        offsets = sorted(user.handles[0].offset for user in rebind.users)
        assert offsets == sorted(5 if n % 3 == 0 else 0 for n in range(MANY))
    finally:
        rebind.release()
    for program in programs:
        assert program.ask("are you well?") == "ok"


def test_a_file_that_became_a_device_of_the_same_name_and_number(
    bench: Bench, programs: list[Program]
) -> None:
    """Its file system may have given the inode's number to it as well."""
    rebind = bench.rebind()
    assert programs[4].ask("become a device") == "ok"
    try:
        with pytest.raises(Blocked):
            rebind.stop()
            rebind.park()
    finally:
        rebind.release()
    for program in programs:
        assert program.ask("are you well?") == "ok"


def test_a_user_that_comes_meanwhile_is_stopped(
    bench: Bench, programs: list[Program], start: Hold, tmp_path: Path
) -> None:
    rebind = bench.rebind()
    late = start(sys.executable, "-c", PROGRAM, bench.path / "late")
    rebind.stop()
    try:
        assert late.process.pid in rebind.pids
        assert len(rebind.pids) == MANY + 1
    finally:
        rebind.release()
    for program in [*programs, late]:
        assert program.ask("are you well?") == "ok"
