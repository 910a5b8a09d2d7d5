"""Devices that remember nothing, opened by nodes that lie on the volume: in a daemon's own root."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.applications.rebind.rebind import Rebind
from holdfast.applications.rebind.scan import blockers, judge
from holdfast.model.handle import HandleKind, HandleOutcome
from tests.kernel.rebind.bench import Bench, Program, run
from tests.kernel.rebind.obedient import (
    AS_NOBODY,
    FILESYSTEMS,
    NOBODY,
    obedient,
    outcomes,
    undone,
)

__all__ = ["obedient"]

NULL, FULL = os.makedev(1, 3), os.makedev(1, 7)


def node(path: Path, device: int = NULL, kind: int = 0o20000) -> None:
    os.mknod(path, kind | 0o666, device)
    path.chmod(0o666)


def opened(program: Program) -> None:
    program.ask("d = os.open(folder + '/x', os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW)")


def works(program: Program) -> None:
    assert program.ask("os.write(d, b'words'), os.read(d, 9)") == "(5, b'')"
    flags = os.O_RDWR | os.O_APPEND
    assert program.ask(f"fcntl.fcntl(d, fcntl.F_GETFL) & {flags | os.O_NONBLOCK}") == str(flags)


@pytest.mark.parametrize("within", [(), AS_NOBODY, ("unshare", "--net", "--pid", "--fork")])
def test_it_is_moved_with_whoever_has_it(
    bench: Bench, obedient: Callable[..., Program], within: tuple[str, ...]
) -> None:
    """Its child goes on to share the description."""
    program = obedient(*within)
    node(bench.path / "x")
    opened(program)
    program.ask("a, b = os.pipe(); now = fcntl.fcntl(d, fcntl.F_GETFL)")
    in_child = f"os.close(b), os.read(a, 1), fcntl.fcntl(d, fcntl.F_SETFL, now | {os.O_NONBLOCK})"
    assert program.ask(f"c = os.fork() or ({in_child}, os._exit(0))") == "None"
    for filesystem in FILESYSTEMS:
        assert outcomes(bench, filesystem) == {HandleOutcome.IDENTICAL}
        works(program)
        assert program.ask("os.path.samestat(os.fstat(d), os.stat(folder + '/x'))") == "True"
    program.ask("os.write(b, b'.'); os.waitpid(c, 0)")
    assert program.ask(f"fcntl.fcntl(d, fcntl.F_GETFL) & {os.O_NONBLOCK}") == str(os.O_NONBLOCK)


def missing(path: Path) -> None:
    path.unlink()


def link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/null")


def another(path: Path) -> None:
    path.unlink()
    node(path, FULL)


def block(path: Path) -> None:
    path.unlink()
    node(path, NULL, 0o60000)


def file(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"kept")


@pytest.mark.parametrize("becomes", [missing, link, another, block, file])
def test_where_there_is_none_it_goes_on_in_memory(
    bench: Bench, obedient: Callable[..., Program], becomes: Callable[[Path], None]
) -> None:
    program = obedient()
    node(bench.path / "x")
    os.chown(bench.path / "x", NOBODY, NOBODY)
    opened(program)
    (line,) = bench.move("xfs", lambda folder: becomes(folder / "x"))
    assert line.outcome is HandleOutcome.ROLLED_BACK
    assert "in memory" in line.note
    works(program)
    assert program.ask("oct(os.fstat(d).st_mode), os.fstat(d).st_uid") == f"('0o20666', {NOBODY})"
    assert not bench.users()
    if becomes is file:
        assert (bench.path / "x").read_bytes() == b"kept"


def test_on_a_mount_that_takes_no_devices_any_more(
    bench: Bench, obedient: Callable[..., Program]
) -> None:
    program = obedient(*AS_NOBODY)
    node(bench.path / "x")
    opened(program)
    run("mount", "-o", "remount,nodev", bench.path)
    assert outcomes(bench, "btrfs") == {HandleOutcome.ROLLED_BACK}
    works(program)


def test_past_the_deadline_it_works_and_is_put_right(
    bench: Bench, obedient: Callable[..., Program]
) -> None:
    program = obedient()
    node(bench.path / "x")
    opened(program)
    bench.die_parked(12.0)
    works(program)
    regained = Rebind.regain(bench.record)
    assert regained is not None
    undone(bench, regained)
    works(program)
    assert program.ask("os.path.samestat(os.fstat(d), os.stat(folder + '/x'))") == "True"


def test_all_is_undone(bench: Bench, obedient: Callable[..., Program]) -> None:
    """What had no name is opened by the very inode, or one in memory."""
    program = obedient()
    node(bench.path / "x")
    opened(program)
    program.ask("os.unlink(folder + '/x')")
    rebind = bench.rebind()
    rebind.stop()
    rebind.park()
    undone(bench, rebind)
    works(program)


def test_a_lock_is_taken_again(bench: Bench, obedient: Callable[..., Program]) -> None:
    program = obedient()
    node(bench.path / "x")
    opened(program)
    program.ask("fcntl.flock(d, fcntl.LOCK_EX)")
    assert outcomes(bench, "xfs") == {HandleOutcome.IDENTICAL}
    taken = "e = os.open(folder + '/x', os.O_RDWR); fcntl.flock(e, fcntl.LOCK_EX | fcntl.LOCK_NB)"
    assert program.ask(taken) == "Resource temporarily unavailable"
    program.ask("os.close(e)")
    (line,) = bench.move("ext4", lambda folder: (folder / "x").unlink())
    assert line.outcome is HandleOutcome.LOST
    works(program)


OTHERS = {"fuse": (10, 229), "kmsg": (1, 11), "loop": (7, 0)}


@pytest.mark.parametrize("name", OTHERS)
def test_any_other_one_blocks(bench: Bench, obedient: Callable[..., Program], name: str) -> None:
    program = obedient()
    kind = 0o60000 if name == "loop" else 0o20000
    node(bench.path / "x", os.makedev(*OTHERS[name]), kind)
    assert program.ask("d = os.open(folder + '/x', os.O_RDONLY | os.O_NONBLOCK)") == "None"
    (found,) = blockers(judge(bench.users()))
    assert found.handle.kind is HandleKind.DEVICE
    assert "opening a device again" in found.reason


def test_a_map_blocks(bench: Bench, obedient: Callable[..., Program]) -> None:
    """Private memory of /dev/zero is nowhere else."""
    program = obedient()
    node(bench.path / "x", os.makedev(1, 5))
    program.ask("import mmap; d = os.open(folder + '/x', os.O_RDWR)")
    program.ask("m = mmap.mmap(d, 4096, mmap.MAP_PRIVATE); m[0] = 7; os.close(d)")
    program.ask("import gc; gc.collect()")
    found = blockers(judge(bench.users()))
    assert {each.handle.number for each in found} >= {None}
    assert any("is mapped" in each.reason for each in found)
    assert program.ask("m[0]") == "7"
