"""What forbids opening only from now on keeps nobody from what he has open."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.applications.rebind.opening.lifted_protection import give_back
from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.model.handle import HandleOutcome
from holdfast.system.files.inode_flags import flags_of
from tests.kernel.rebind.bench import Bench, run
from tests.kernel.rebind.conftest import Hold

FILESYSTEMS = ["", "ext4", "xfs"]
"""Of the copy; the first: the same file system again."""

PROGRAM = """
import mmap, os, sys
folder = sys.argv[1]
fixed = os.open(folder + "/fixed", os.O_RDWR | os.O_CREAT)
growing = os.open(folder + "/growing", os.O_RDWR | os.O_CREAT)
closed = os.open(folder + "/closed", os.O_RDWR | os.O_CREAT)
for file in (fixed, growing, closed):
    os.write(file, b"x" * 4096)
log = os.open(folder + "/growing", os.O_WRONLY | os.O_APPEND)
maps = [mmap.mmap(file, 4096) for file in (fixed, growing)]
print("ready", flush=True)
for line in sys.stdin:
    maps[1][0:1] = b"m"  # of an immutable file this is SIGBUS, moved or not
    os.write(log, b"line")
    os.pwrite(closed, b"c", 1)
    print(maps[0][:2], os.pread(fixed, 2, 0), os.pread(growing, 2, 0), flush=True)
    print(os.pread(growing, 4, 4096), os.pread(closed, 2, 0), flush=True)
"""


@pytest.fixture
def protected(bench: Bench) -> Iterator[None]:
    """Whatever was protected can be removed again."""
    yield
    for name in ("fixed", "growing"):
        subprocess.run(["chattr", "-ia", bench.path / name], check=False, capture_output=True)


@contextmanager
def moved(bench: Bench, filesystem: str) -> Iterator[list[ReboundHandle]]:
    """Everybody stands still on other storage."""
    rebind = bench.rebind()
    rebind.stop()
    try:
        rebind.park()
        mounting = bench.copied(filesystem, rebind) if filesystem else bench.exchanged(bench.image)
        with mounting as bases:
            yield rebind.rebind(bases, same_data=True, same_inodes=not filesystem)
    finally:
        rebind.release()


@pytest.mark.parametrize("filesystem", FILESYSTEMS)
@pytest.mark.usefixtures("protected")
def test_files_that_cannot_be_opened_like_that_any_more(
    bench: Bench, start: Hold, filesystem: str
) -> None:
    program = start(sys.executable, "-c", PROGRAM, bench.path)
    run("chattr", "+i", bench.path / "fixed")
    run("chattr", "+a", bench.path / "growing")
    (bench.path / "closed").chmod(0)
    with moved(bench, filesystem) as lines:
        assert {line.outcome for line in lines} == {HandleOutcome.IDENTICAL}, lines
        for name, flag in (("fixed", 0x10), ("growing", 0x20)):
            with (bench.path / name).open() as file:
                assert flags_of(file.fileno()) & 0x30 == flag
        assert not list(bench.record.glob("set-aside-*"))
    assert program.ask() == "b'xx' b'xx' b'mx'"
    assert program.answer() == "b'line' b'xc'"


@pytest.mark.parametrize("filesystem", FILESYSTEMS)
def test_a_program_on_a_mount_that_permits_none(bench: Bench, hold: Hold, filesystem: str) -> None:
    program = hold("program", "file")
    run("mount", "-o", "remount,bind,noexec", bench.path)
    with moved(bench, filesystem) as lines:
        assert {line.outcome for line in lines} == {HandleOutcome.IDENTICAL}, lines
    options = subprocess.check_output(["findmnt", "-no", "OPTIONS", bench.path], text=True).split(
        ","
    )
    assert "noexec" in options
    program.verify()


STANDING = """
import os, sys
os.chdir(sys.argv[1] + "/closed")
os.setgroups([]); os.setgid(65534); os.setuid(int(sys.argv[2]))
print("ready", flush=True)
for line in sys.stdin:
    print(os.readlink("/proc/self/cwd"), flush=True)
"""


@pytest.mark.parametrize("user", ["65534", "65533"])
@pytest.mark.parametrize("filesystem", FILESYSTEMS)
def test_a_directory_that_nobody_may_enter_any_more(
    bench: Bench, start: Hold, filesystem: str, user: str
) -> None:
    folder = bench.path / "closed"
    folder.mkdir()
    folder.chmod(0o755)
    subprocess.run(["chown", "65534:65534", folder], check=True)
    program = start(sys.executable, "-c", STANDING, bench.path, user)
    folder.chmod(0)
    with moved(bench, filesystem) as lines:
        assert {line.outcome for line in lines} == {HandleOutcome.IDENTICAL}, lines
        assert folder.stat().st_mode & 0o7777 == 0
    assert program.ask() == str(folder)


def test_what_a_dead_opening_had_set_aside_is_given_back(bench: Bench) -> None:
    """Killed between taking a flag and giving it back."""
    code = """
import os, signal, sys
from pathlib import Path
from holdfast.applications.rebind.opening.lifted_protection import without_protection
place = os.open(sys.argv[1], os.O_PATH)
with without_protection(place, 7, Path(sys.argv[2])):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    path: Path = bench.path / "file"
    path.touch()
    run("chattr", "+i", path)
    bench.record.mkdir()
    subprocess.run([sys.executable, "-c", code, path, bench.record], check=False)
    with path.open() as file:
        assert flags_of(file.fileno()) & 0x10 == 0
    base = os.open(bench.path, os.O_PATH)
    give_back({7: base}, bench.record)
    os.close(base)
    with path.open() as file:
        assert flags_of(file.fileno()) & 0x10
    assert not list(bench.record.iterdir())
    run("chattr", "-i", path)
