"""Mounts of other file systems below a volume, and programs that use them, for tests of moves."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from holdfast.system.mounts.mount_table import Mount, mounts, parse_mountinfo
from tests.waiting import wait_until

BY_PATH = """
import os, sys
place, record = sys.argv[1:]
number, device = 0, os.stat(place).st_dev
while not os.path.exists(record + ".end"):
    number += 1
    assert os.stat(place).st_dev == device, "the directory below"
    assert "hidden" not in os.listdir(place)
    descriptor = os.open(f"{place}/log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    assert os.fstat(descriptor).st_dev == device
    os.write(descriptor, f"{number}\\n".encode())
    os.fsync(descriptor)
    os.close(descriptor)
    with open(record + ".new", "w") as file:
        file.write(str(number))
    os.rename(record + ".new", record)
"""
INSIDE = """
import fcntl, os, sys, time
place, record = sys.argv[1:]
os.chdir(place)
file, number = open("held", "a"), 0
fcntl.lockf(file, fcntl.LOCK_EX)
while not os.path.exists(record + ".end"):
    number += 1
    assert "held" in os.listdir(".")
    file.write("x")
    file.flush()
    with open(record + ".new", "w") as other:
        other.write(str(number))
    os.rename(record + ".new", record)
    time.sleep(0.001)
assert os.getcwd() == place
"""


@contextmanager
def using(place: Path, record: Path) -> Iterator[None]:
    """Two programs on the inner mount, one by path and one that holds it: no error meanwhile, and
    they run at the end."""
    with ExitStack() as stack:
        started = []
        for name, text in (("path", BY_PATH), ("inside", INSIDE)):
            own = Path(f"{record}-{name}")
            command = [sys.executable, "-c", text, str(place), str(own)]
            process = subprocess.Popen(command, cwd="/")
            stack.callback(process.wait, 30)
            stack.callback(process.kill)
            wait_until(own.exists)
            started.append((process, own))
        yield
        for process, own in started:
            before = int(own.read_text())
            wait_until(
                lambda own=own, before=before, process=process: (
                    process.poll() is not None or int(own.read_text()) > before + 5
                )
            )
            Path(f"{own}.end").touch()
            assert process.wait(30) == 0, "it met an error"


@contextmanager
def mounted_below(place: Path, name: str = "inner", *options: str) -> Iterator[Path]:
    """A file system in memory on a directory in which something is hidden then."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "hidden").touch()
    subprocess.run(["mount", *options, "-t", "tmpfs", name, str(place)], check=True)
    try:
        yield place
    finally:
        for each in reversed([each for each in mounts() if each.source == name]):
            subprocess.run(["umount", each.path], check=True)


def table(pid: int | str = "self") -> list[Mount]:
    """The mount table of a process."""
    return parse_mountinfo(Path(f"/proc/{pid}/mountinfo").read_bytes())


def mount_of(name: str, pid: int | str = "self") -> list[tuple[int, str]]:
    """Number and place of all mounts of this source."""
    return [(each.identifier, each.path) for each in table(pid) if each.source == name]


def nothing_left(run_directory: Path, *pids: int) -> bool:
    """No parking place and no cover is mounted anywhere."""
    sources = [each.source for pid in ("self", *pids) for each in table(pid)]
    assert not [each for each in sources if each.startswith("holdfast-")]
    return nothing_parked(run_directory)


def nothing_parked(run_directory: Path) -> bool:
    """No parking place is mounted here, and none has a directory."""
    assert not [each for each in table() if each.source.startswith("holdfast-parked")]
    folder = run_directory / "parked-mounts"
    return not folder.exists() or not any(folder.iterdir())
