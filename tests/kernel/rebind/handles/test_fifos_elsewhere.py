"""FIFOs among other contents, on storage that does not answer, past the deadline."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.applications.rebind.rebind import Rebind
from holdfast.errors import Blocked
from holdfast.model.handle import HandleKind, HandleOutcome
from tests.kernel.rebind.bench import Bench, Program
from tests.kernel.rebind.obedient import (
    AS_NOBODY,
    NOBODY,
    obedient,
    outcomes,
    undone,
)

__all__ = ["obedient"]


# --- other contents -----------------------------------------------------------------------------


def missing(path: Path) -> None:
    path.unlink()


def link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/full")


def device(path: Path) -> None:
    path.unlink()
    os.mknod(path, 0o20666, os.makedev(1, 7))  # /dev/full


def file(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"not a pipe")


def roots(path: Path) -> None:
    path.chmod(0o600)
    os.chown(path, 0, 0)


@pytest.mark.parametrize("becomes", [missing, link, device, file, roots])
def test_where_there_is_none_its_users_go_on_without_a_name(
    bench: Bench, obedient: Callable[..., Program], becomes: Callable[[Path], None]
) -> None:
    reader, writer = obedient(*AS_NOBODY), obedient()
    (bench.path / "u").mkdir()
    os.chown(bench.path / "u", NOBODY, NOBODY)
    os.mkfifo(bench.path / "u/x", 0o640)
    os.chown(bench.path / "u/x", NOBODY, NOBODY)
    reader.ask("r = os.open(folder + '/u/x', os.O_RDONLY | os.O_NONBLOCK)")
    writer.ask("w = os.open(folder + '/u/x', os.O_WRONLY)")
    writer.ask("os.write(w, b'before ')")
    lines = bench.move("ext4", lambda folder: becomes(folder / "u/x"))
    assert [line.outcome for line in lines] == [HandleOutcome.ROLLED_BACK] * 2
    assert all("without a name" in line.note for line in lines)
    assert writer.ask("os.write(w, b'and after')") == "9"
    assert reader.ask("os.read(r, 100)") == "b'before and after'"
    assert reader.ask("oct(os.fstat(r).st_mode), os.fstat(r).st_uid") == f"('0o10640', {NOBODY})"
    writer.ask("os.close(w)")
    assert reader.ask("os.read(r, 100)") == "b''"
    assert not bench.users()


def test_two_that_have_become_one_stay_apart(
    bench: Bench, obedient: Callable[..., Program]
) -> None:
    """Each has what was in it: nothing is lost, nothing comes out of the other."""
    program = obedient()

    def joined(folder: Path) -> None:
        (folder / "y").unlink()
        (folder / "y").hardlink_to(folder / "x")

    for name in "xy":
        os.mkfifo(bench.path / name)
        program.ask(f"{name} = os.open(folder + '/{name}', os.O_RDWR | os.O_NONBLOCK)")
        program.ask(f"os.write({name}, b'in {name}')")
    lines = bench.move("ext4", joined)
    assert sorted(line.outcome for line in lines) == [
        HandleOutcome.IDENTICAL,
        HandleOutcome.ROLLED_BACK,
    ]
    assert program.ask("to_end(x), to_end(y)") == "(b'in x', b'in y')"


def test_who_has_lost_the_right_to_it_keeps_nobody_from_it(
    bench: Bench, obedient: Callable[..., Program]
) -> None:
    reader, stranger = obedient(), obedient(*AS_NOBODY)
    os.mkfifo(bench.path / "x")
    (bench.path / "x").chmod(0o666)
    reader.ask("r = os.open(folder + '/x', os.O_RDONLY | os.O_NONBLOCK)")
    stranger.ask("w = os.open(folder + '/x', os.O_WRONLY); os.write(w, b'before ')")
    (bench.path / "x").chmod(0o600)
    lines = {line.handle.pid: line for line in bench.move("ext4")}
    assert lines[reader.pid].outcome is HandleOutcome.IDENTICAL
    assert lines[stranger.pid].outcome is HandleOutcome.FILE_MISSING
    assert stranger.ask("os.write(w, b'after')") == os.strerror(errno.EPIPE)
    other = os.open(bench.path / "x", os.O_WRONLY)
    os.write(other, b"by name")
    os.close(other)
    assert reader.ask("os.read(r, 100)") == "b'before by name'"


def test_a_fifo_that_anybody_may_open_is_found_by_its_name(
    bench: Bench, obedient: Callable[..., Program]
) -> None:
    reader, writer = obedient(*AS_NOBODY), obedient(*AS_NOBODY)
    os.mkfifo(bench.path / "x")
    (bench.path / "x").chmod(0o666)
    reader.ask("r = os.open(folder + '/x', os.O_RDONLY | os.O_NONBLOCK)")
    writer.ask("w = os.open(folder + '/x', os.O_WRONLY)")
    writer.ask("os.write(w, b'before ')")
    assert outcomes(bench, "xfs") == {HandleOutcome.IDENTICAL}
    other = os.open(bench.path / "x", os.O_WRONLY)
    os.write(other, b"by name")
    os.close(other)
    assert reader.ask("os.read(r, 100)") == "b'before by name'"


def test_copied_online(bench: Bench, obedient: Callable[..., Program]) -> None:
    """It is found where it is by then, with its owner and mode."""
    program = obedient()
    os.mkfifo(bench.path / "x")
    (bench.path / "x").chmod(0o620)
    os.chown(bench.path / "x", NOBODY, NOBODY)
    os.setxattr(bench.path / "x", "trusted.of", b"somebody")
    program.ask("e = os.open(folder + '/x', os.O_RDWR); os.write(e, b'bytes')")
    (bench.path / "x").rename(bench.path / "y")
    (bench.path / "x").write_bytes(b"another one")
    rebind = bench.rebind()
    rebind.stop()
    rebind.park()
    with bench.copied("xfs", rebind) as bases:
        lines = rebind.rebind(bases)
    rebind.release()
    assert [line.outcome for line in lines] == [HandleOutcome.IDENTICAL]
    status = (bench.path / "y").stat()
    assert (oct(status.st_mode), status.st_uid, status.st_gid) == ("0o10620", NOBODY, NOBODY)
    assert os.getxattr(bench.path / "y", "trusted.of") == b"somebody"
    assert program.ask("os.fstat(e).st_ino") == str(status.st_ino)
    assert program.ask("os.read(e, 100)") == "b'bytes'"


def test_where_the_old_storage_must_not_be_asked(
    bench: Bench, obedient: Callable[..., Program]
) -> None:
    program = obedient()
    os.mkfifo(bench.path / "x")
    program.ask("r = os.open(folder + '/x', os.O_RDONLY | os.O_NONBLOCK)")
    program.ask("w = os.open(folder + '/x', os.O_WRONLY); os.write(w, b'bytes')")
    rebind = bench.rebind(storage_answers=False)
    rebind.stop()
    rebind.park()
    undone(bench, rebind)
    assert program.ask("os.read(r, 100)") == "b'bytes'"


def test_more_ends_than_we_may_have_descriptors(
    bench: Bench, obedient: Callable[..., Program]
) -> None:
    program = obedient()
    os.mkfifo(bench.path / "x")
    program.ask("[os.open(folder + '/x', os.O_RDWR) for _ in range(300)]")
    rebind = bench.rebind()
    rebind.stop()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, limits[1]))
    try:
        with pytest.raises(Blocked, match="300 ends of 1 FIFOs"):
            rebind.park()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert program.ask("1") == "1"
    assert not bench.record.exists()


# --- past the deadline --------------------------------------------------------------------------


def test_past_the_deadline_they_go_on_and_are_put_right_afterwards(
    bench: Bench, obedient: Callable[..., Program]
) -> None:
    """What nobody has read goes along, whenever it was written."""
    reader, writer = obedient(), obedient()
    os.mkfifo(bench.path / "x")
    reader.ask("r = os.open(folder + '/x', os.O_RDONLY | os.O_NONBLOCK)")
    reader.ask("e = select.epoll(); e.register(r, select.EPOLLIN)")
    writer.ask("w = os.open(folder + '/x', os.O_WRONLY); os.write(w, b'before, ')")
    bench.die_parked(12.0)  # everybody is to be parked by then, on a busy host, too
    assert writer.ask("os.write(w, b'late')") == "4"
    assert reader.ask("os.read(r, 3)") == "b'bef'"
    assert reader.ask("len(e.poll(0))") == "1"
    assert not bench.users()
    regained = Rebind.regain(bench.record)
    assert regained is not None
    undone(bench, regained)
    assert {each.kind for user in bench.users() for each in user.handles} == {HandleKind.FIFO}
    assert reader.ask("len(e.poll(0))") == "1"
    assert reader.ask("os.read(r, 100)") == "b'ore, late'"
    writer.ask("os.close(w)")
    assert reader.ask("os.read(r, 100)") == "b''"
