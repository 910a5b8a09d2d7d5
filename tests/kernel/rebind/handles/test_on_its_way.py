"""Who has a descriptor that nobody sees, on its way in a socket, refuses the dismount: everything
is undone then, and everybody has what he had, together with it. Also what has no name any more."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.kernel.rebind.bench import Bench, Program
from tests.kernel.rebind.obedient import obedient, undone

__all__ = ["obedient"]


@contextmanager
def sent_off(path: Path, flags: int) -> Iterator[Callable[[], int]]:
    """It is opened, sent and removed; what receives it."""
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        end = os.open(path, flags)
        socket.send_fds(ours, [b"x"], [end])
        os.close(end)
        (path.rmdir if path.is_dir() else path.unlink)()
        yield lambda: socket.recv_fds(theirs, 1, 1)[1][0]


def refused(bench: Bench) -> None:
    rebind = bench.rebind()
    rebind.stop()
    rebind.park()
    undone(bench, rebind)


@pytest.fixture(params=["ext4", "xfs", "btrfs"])
def there(request: pytest.FixtureRequest, bench: Bench) -> Bench:
    if request.param != "ext4":
        bench.move(request.param)
    return bench


def test_a_fifo(there: Bench, obedient: Callable[..., Program]) -> None:
    program = obedient()
    os.mkfifo(there.path / "x")
    program.ask("r = os.open(folder + '/x', os.O_RDONLY | os.O_NONBLOCK)")
    program.ask("w = os.open(folder + '/x', os.O_WRONLY); os.write(w, b'before '); os.close(w)")
    with sent_off(there.path / "x", os.O_WRONLY) as received:
        refused(there)
        end = received()
        assert program.ask("os.read(r, 100)") == "b'before '"
        os.write(end, b"after")
        assert program.ask("os.read(r, 100)") == "b'after'"
        os.close(end)
        assert program.ask("os.read(r, 100)") == "b''"


def test_a_file(there: Bench, obedient: Callable[..., Program]) -> None:
    program = obedient()
    program.ask("f = os.open(folder + '/x', os.O_RDWR | os.O_CREAT); os.write(f, b'before ')")
    with sent_off(there.path / "x", os.O_WRONLY | os.O_APPEND) as received:
        refused(there)
        end = received()
        os.write(end, b"after")
        os.close(end)
        assert program.ask("os.pread(f, 100, 0)") == "b'before after'"
        assert program.ask("os.lseek(f, 0, os.SEEK_CUR)") == "7"


def test_a_directory(there: Bench, obedient: Callable[..., Program]) -> None:
    program = obedient()
    (there.path / "x").mkdir()
    program.ask("d = os.open(folder + '/x', os.O_RDONLY); os.chdir(folder + '/x')")
    with sent_off(there.path / "x", os.O_RDONLY) as received:
        refused(there)
        end = received()
        number = str(os.fstat(end).st_ino)
        os.close(end)
        assert program.ask("os.fstat(d).st_ino") == number
        assert program.ask("os.stat('.').st_ino") == number
        assert not list(there.path.glob(".holdfast*"))
