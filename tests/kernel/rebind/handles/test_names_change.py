"""Names change between the noting of a handle and its opening: a process gets what it had."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.rebind import Rebind
from holdfast.model.handle import HandleOutcome
from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import Hold

_EXCHANGE = 2  # RENAME_EXCHANGE
_LIBC = ctypes.CDLL(None, use_errno=True)

HOLDER = """
import mmap, os, sys
folder = sys.argv[1] + "/u"
file = os.open(folder + "/mine", os.O_RDWR)
deep = os.open(folder + "/way/deep", os.O_RDWR)
place = os.open(folder + "/mine", os.O_PATH)
directory = os.open(folder + "/way", os.O_RDONLY | os.O_DIRECTORY)
memory = mmap.mmap(file, 0)
os.chdir(folder + "/stand")
print("ready", flush=True)
for line in sys.stdin:
    found = [
        os.pread(file, 20, 0), os.pread(deep, 20, 0), memory[:],
        open(f"/proc/self/fd/{place}", "rb").read(),
        *map(os.fsencode, os.listdir(directory)), *map(os.fsencode, os.listdir(".")),
    ]
    print(b" ".join(found).decode(), flush=True)
"""
HAD = "mine way-deep mine mine deep here"


def fill(folder: Path) -> None:
    """What the process has, and what somebody would like it to have."""
    user = folder / "u"
    for name in ("way", "stand", "secrets", "vault"):
        (user / name).mkdir(parents=True)
    (user / "mine").write_text("mine")
    (user / "way/deep").write_text("way-deep")
    (user / "stand/here").touch()
    (user / "secret").write_text("root's")
    (user / "secrets/deep").write_text("root's")
    (user / "secrets/more").write_text("root's")
    (user / "vault/there").touch()
    (user / "secret").chmod(0o600)


def exchange(folder: Path) -> None:
    """Every name leads to something else."""
    for pair in (("mine", "secret"), ("way", "secrets"), ("stand", "vault")):
        one, other = (folder / "u" / name for name in pair)
        if one.exists() and other.exists():
            paths = os.fsencode(one), os.fsencode(other)
            assert _LIBC.renameat2(-100, paths[0], -100, paths[1], _EXCHANGE) == 0


def rotate(folder: Path) -> None:
    """As logs are: another file has the name."""
    for name in ("mine", "way", "stand"):
        (folder / "u" / name).rename(folder / "u" / f"{name}.1")
    (folder / "u/mine").write_text("new")
    (folder / "u/way").mkdir()


def move_away(folder: Path) -> None:
    """Into other directories; a link is at the old name."""
    (folder / "elsewhere").mkdir()
    for name in ("mine", "way", "stand"):
        (folder / "u" / name).rename(folder / "elsewhere" / name)
    (folder / "u/mine").symlink_to("secret")
    (folder / "u/way").symlink_to("secrets")


def link(folder: Path) -> None:
    """Another hard link is what is left of one."""
    os.link(folder / "u/mine", folder / "u/other")
    (folder / "u/mine").unlink()
    (folder / "u/secret").rename(folder / "u/mine")


@contextmanager
def parked(bench: Bench, change: Callable[[Path], None]) -> Iterator[Rebind]:
    """Everybody is parked, and then names change."""
    rebind = bench.rebind()
    rebind.stop()
    try:
        rebind.park()
        change(bench.path)
        yield rebind
    finally:
        rebind.release()


CHANGES = (exchange, rotate, move_away, link)


@pytest.mark.parametrize("change", CHANGES)
def test_on_the_same_file_system(bench: Bench, start: Hold, change: Callable[[Path], None]) -> None:
    fill(bench.path)
    program = start(sys.executable, "-c", HOLDER, bench.path)
    with parked(bench, change) as rebind, bench.exchanged(bench.image) as bases:
        check(rebind.rebind(bases, same_data=True, same_inodes=True))
    assert program.ask() == HAD


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("filesystem", ["ext4", "xfs", "btrfs"])
def test_on_a_copy(
    bench: Bench, start: Hold, change: Callable[[Path], None], filesystem: str
) -> None:
    fill(bench.path)
    program = start(sys.executable, "-c", HOLDER, bench.path)
    with parked(bench, change) as rebind, bench.copied(filesystem, rebind) as bases:
        exchange(bench.path)  # newcomers see the new mount before handles move
        check(rebind.rebind(bases, same_data=True))
    assert program.ask() == HAD


def test_removed_after_it_was_noted(bench: Bench, start: Hold) -> None:
    """Its number may be another file's by then: it is nowhere."""
    fill(bench.path)
    program = start(sys.executable, "-c", HOLDER.replace('"/way/deep"', '"/mine"'), bench.path)

    def remove(folder: Path) -> None:
        (folder / "u/mine").unlink()
        for number in range(20):
            (folder / f"u/new-{number}").write_text("root's")
        (folder / "u/new-3").rename(folder / "u/mine")

    with parked(bench, remove) as rebind, bench.copied("xfs", rebind) as bases:
        lines = rebind.rebind(bases, same_data=True)
    files = [line for line in lines if line.handle.path.endswith("mine")]
    assert {line.outcome for line in files} == {HandleOutcome.FILE_MISSING}
    assert program.process.poll() is None


def check(lines: list[ReboundHandle]) -> None:
    """Nothing was lost."""
    assert {line.outcome for line in lines} == {HandleOutcome.IDENTICAL}, lines
