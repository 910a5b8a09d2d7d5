"""FIFOs are moved with what is in them: nobody who has an end of one notices."""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Callable

import pytest

from holdfast.applications.rebind.rebind import Rebind
from holdfast.model.handle import HandleKind, HandleOutcome
from tests.kernel.rebind.bench import Bench, Program
from tests.kernel.rebind.obedient import (
    EPOLL_WAIT,
    FILESYSTEMS,
    OPENAT,
    POLL,
    READ,
    WRITE,
    obedient,
    outcomes,
    told,
    undone,
    waits_in,
)

__all__ = ["obedient"]


# --- who waits ----------------------------------------------------------------------------------


def test_who_waits_to_read_waits_again(bench: Bench, obedient: Callable[..., Program]) -> None:
    reader, writer = obedient(), obedient()
    os.mkfifo(bench.path / "x")
    told(reader, "r = os.open(folder + '/x', os.O_RDONLY)")
    writer.ask("w = os.open(folder + '/x', os.O_WRONLY)")
    reader.answer()
    for filesystem in FILESYSTEMS:
        told(reader, "os.read(r, 100)")
        waits_in(reader, READ)
        assert outcomes(bench, filesystem) == {HandleOutcome.IDENTICAL}
        assert writer.ask("os.write(w, b'hello')") == "5"
        assert reader.answer() == "b'hello'"
    told(reader, "select.select([r], [], [])")
    assert outcomes(bench, "xfs") == {HandleOutcome.IDENTICAL}
    writer.ask("os.close(w)")
    reader.answer()
    assert reader.ask("os.read(r, 100)") == "b''"


def test_who_waits_to_write_waits_again(bench: Bench, obedient: Callable[..., Program]) -> None:
    reader, writer = obedient(), obedient()
    os.mkfifo(bench.path / "x")
    told(reader, "r = os.open(folder + '/x', os.O_RDONLY)")
    writer.ask("w = os.open(folder + '/x', os.O_WRONLY)")
    reader.answer()
    writer.ask("os.write(w, bytes(range(256)) * 256)")
    told(writer, "os.write(w, b'end')")
    waits_in(writer, WRITE)
    for filesystem in FILESYSTEMS:
        assert outcomes(bench, filesystem) == {HandleOutcome.IDENTICAL}
    assert reader.ask("os.read(r, 65536) == bytes(range(256)) * 256") == "True"
    assert writer.answer() == "3"
    assert reader.ask("os.read(r, 65536)") == "b'end'"


HOW_TO_OPEN = {
    "and stands there": ("os.chdir(folder)", "os.open('x', {})"),
    "by its path": ("1", "os.open(folder + '/x', {})"),
    "in a directory": ("f = os.open(folder, os.O_PATH)", "os.open('x', {}, dir_fd=f)"),
}


@pytest.mark.parametrize("flags", ["os.O_RDONLY", "os.O_WRONLY"])
@pytest.mark.parametrize("how", HOW_TO_OPEN)
def test_who_waits_in_open_waits_again(
    bench: Bench, obedient: Callable[..., Program], how: str, flags: str
) -> None:
    """Also one who uses the file system by nothing else."""
    program, other = obedient(), obedient()
    os.mkfifo(bench.path / "x")
    before, opening = HOW_TO_OPEN[how]
    program.ask(before)
    told(program, "e = " + opening.format(flags))
    waits_in(program, OPENAT)
    kinds = {each.kind for user in bench.users() for each in user.handles}
    assert HandleKind.OPENING in kinds
    for filesystem in FILESYSTEMS:
        assert outcomes(bench, filesystem) <= {HandleOutcome.IDENTICAL}
        waits_in(program, OPENAT)
    other.ask(
        f"e = os.open(folder + '/x', {'os.O_WRONLY' if flags == 'os.O_RDONLY' else 'os.O_RDONLY'})"
    )
    program.answer()
    reader, writer = (program, other) if flags == "os.O_RDONLY" else (other, program)
    writer.ask("os.write(e, b'hello')")
    assert reader.ask("os.read(e, 100)") == "b'hello'"


def test_one_of_many_threads_waits_in_open(bench: Bench, obedient: Callable[..., Program]) -> None:
    program = obedient()
    os.mkfifo(bench.path / "x")
    program.ask(
        "t = threading.Thread(target=lambda: os.read(os.open(folder + '/x', os.O_RDONLY), 9));"
        "t.start()"
    )
    waits_in(program, OPENAT)
    rebind = bench.rebind()
    rebind.stop()
    rebind.park()
    undone(bench, rebind)
    assert program.ask("t.is_alive()") == "True"
    end = os.open(bench.path / "x", os.O_WRONLY)
    os.write(end, b"x")
    os.close(end)
    assert program.ask("t.join()") == "None"


def test_who_waits_in_open_when_we_die(bench: Bench, obedient: Callable[..., Program]) -> None:
    program = obedient()
    os.mkfifo(bench.path / "x")
    told(program, "e = os.open(folder + '/x', os.O_RDONLY)")
    waits_in(program, OPENAT)
    bench.die_parked(60)
    rebind = Rebind.regain(bench.record)
    assert rebind is not None
    undone(bench, rebind)
    waits_in(program, OPENAT)
    os.close(os.open(bench.path / "x", os.O_WRONLY))
    assert program.answer() == "None"


# --- who shares, who is told --------------------------------------------------------------------


def test_what_is_shared_stays_shared(bench: Bench, obedient: Callable[..., Program]) -> None:
    program, other = obedient(), obedient()
    os.mkfifo(bench.path / "x")
    program.ask("e = os.open(folder + '/x', os.O_RDWR)")
    program.ask("f = os.dup(e); g = os.open(folder + '/x', os.O_RDWR)")
    program.ask("ours, theirs = socket.socketpair()")
    program.ask("pid = os.fork() or [theirs.send(os.read(e, 1)) for _ in iter(int, 1)]")
    other.ask("r = os.open(folder + '/x', os.O_RDONLY)")
    for filesystem in FILESYSTEMS:
        assert outcomes(bench, filesystem) == {HandleOutcome.IDENTICAL}
        program.ask("os.write(f, b'1')")
        assert program.ask("ours.recv(1)") == "b'1'"
        program.ask("fcntl.fcntl(f, fcntl.F_SETFL, os.O_NONBLOCK | os.O_RDWR)")
        assert program.ask("os.get_blocking(e), os.get_blocking(g)") == "(False, True)"
        program.ask("os.set_blocking(f, True)")
    program.ask("os.kill(pid, 9)")


def test_who_is_told_by_signal(bench: Bench, obedient: Callable[..., Program]) -> None:
    program = obedient()
    os.mkfifo(bench.path / "x")
    program.ask("signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN])")
    program.ask("r = os.open(folder + '/x', os.O_RDONLY | os.O_NONBLOCK)")
    program.ask("w = os.open(folder + '/x', os.O_WRONLY)")
    program.ask("fcntl.fcntl(r, fcntl.F_SETOWN, os.getpid())")
    program.ask("fcntl.fcntl(r, 10, signal.SIGRTMIN)")  # F_SETSIG
    program.ask("fcntl.fcntl(r, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)")
    for filesystem in FILESYSTEMS:
        assert outcomes(bench, filesystem) == {HandleOutcome.IDENTICAL}
        assert program.ask("signal.sigtimedwait([signal.SIGRTMIN], 0)") == "None"
        program.ask("os.write(w, b'x')")
        assert program.ask("signal.sigtimedwait([signal.SIGRTMIN], 5).si_signo") == "34"
        assert program.ask("os.read(r, 9)") == "b'x'"


def test_nobody_is_told_by_signal_of_the_move(
    bench: Bench, obedient: Callable[..., Program]
) -> None:
    """By neither end, when the other one is replaced before it."""
    program = obedient()
    os.mkfifo(bench.path / "x")
    program.ask("signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGIO])")
    program.ask("r = os.open(folder + '/x', os.O_RDONLY | os.O_NONBLOCK)")
    program.ask("w = os.open(folder + '/x', os.O_WRONLY | os.O_NONBLOCK)")
    program.ask("s = os.open(folder + '/x', os.O_RDONLY | os.O_NONBLOCK)")
    program.ask("[fcntl.fcntl(each, fcntl.F_SETOWN, os.getpid()) for each in (r, w, s)]")
    program.ask("[fcntl.fcntl(each, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC) for each in (w, s)]")
    os.mkfifo(bench.path / "y")
    program.ask("gone = os.open(folder + '/y', os.O_RDONLY | os.O_NONBLOCK)")
    program.ask("lonely = os.open(folder + '/y', os.O_WRONLY)")
    program.ask("os.write(lonely, b'x'); os.close(gone)")
    program.ask("fcntl.fcntl(lonely, fcntl.F_SETOWN, os.getpid())")
    program.ask("fcntl.fcntl(lonely, fcntl.F_SETFL, os.O_ASYNC)")
    for filesystem in FILESYSTEMS:
        assert outcomes(bench, filesystem) == {HandleOutcome.IDENTICAL}
        assert program.ask("signal.sigtimedwait([signal.SIGIO], 0)") == "None"
    program.ask("os.write(w, b'x')")
    assert program.ask("signal.sigtimedwait([signal.SIGIO], 5).si_signo") == str(int(signal.SIGIO))


def test_who_watches_sees_nothing_of_the_move(
    bench: Bench, obedient: Callable[..., Program]
) -> None:
    program, watcher = obedient(), obedient()
    os.mkfifo(bench.path / "x")
    program.ask("r = os.open(folder + '/x', os.O_RDONLY | os.O_NONBLOCK)")
    program.ask("w = os.open(folder + '/x', os.O_WRONLY); os.write(w, b'x')")
    watcher.ask("import ctypes; libc = ctypes.CDLL(None); i = libc.inotify_init1(os.O_NONBLOCK)")
    watcher.ask("[libc.inotify_add_watch(i, os.fsencode(folder + n), 0xfff) for n in ('', '/x')]")
    for filesystem in FILESYSTEMS:
        assert outcomes(bench, filesystem) == {HandleOutcome.IDENTICAL}
        assert watcher.ask("os.read(i, 4096)") == os.strerror(errno.EAGAIN)
    program.ask("os.write(w, b'x')")
    assert watcher.ask("len(os.read(i, 4096)) > 0") == "True"


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "with a child"])
def test_epoll_waits_again(bench: Bench, obedient: Callable[..., Program], shared: bool) -> None:
    program = obedient()
    os.mkfifo(bench.path / "x")
    program.ask("r = os.open(folder + '/x', os.O_RDONLY | os.O_NONBLOCK)")
    program.ask("w = os.open(folder + '/x', os.O_WRONLY)")
    program.ask("e = select.epoll(); e.register(r, select.EPOLLIN); e.register(w, 0)")
    program.ask("t = os.dup(r); e.register(t, select.EPOLLIN | select.EPOLLONESHOT)")
    if shared:
        program.ask("pid = os.fork() or signal.pause()")
    for filesystem in FILESYSTEMS:
        told(program, "[n for n, _ in e.poll(-1, 1)][0] in (r, t)")
        waits_in(program, EPOLL_WAIT)
        assert outcomes(bench, filesystem) == {HandleOutcome.IDENTICAL}
        writer = os.open(bench.path / "x", os.O_WRONLY)
        os.write(writer, b"x")
        os.close(writer)
        assert program.answer() == "True"
        assert program.ask("len(e.poll(0)) >= 1 and os.read(r, 9)") == "b'x'"
        program.ask("e.modify(t, select.EPOLLIN | select.EPOLLONESHOT)")
    if shared:
        program.ask("os.kill(pid, 9)")


def test_many_with_one_epoll_instance(bench: Bench, obedient: Callable[..., Program]) -> None:
    """More than fit into one batch of calls."""
    program = obedient()
    program.ask("[os.mkfifo(f'{folder}/{n}') for n in range(600)]")
    program.ask(
        "ends = [os.open(f'{folder}/{n}', os.O_RDWR | os.O_NONBLOCK) for n in range(600)];"
        "e = select.epoll(); [e.register(end, select.EPOLLIN) for end in ends]"
    )
    for filesystem in ("xfs", "ext4"):
        assert outcomes(bench, filesystem) == {HandleOutcome.IDENTICAL}
        assert program.ask("e.poll(0)") == "[]"
        program.ask("[os.write(end, b'x') for end in ends]")
        assert program.ask("sorted(n for n, _ in e.poll(0, 600)) == ends") == "True"
        assert program.ask("sum(os.read(end, 9) == b'x' for end in ends)") == "600"


# --- what is in it ------------------------------------------------------------------------------


def test_pages_of_files_that_were_spliced_in(
    bench: Bench, obedient: Callable[..., Program]
) -> None:
    program = obedient()
    os.mkfifo(bench.path / "x")
    (bench.path / "file").write_bytes(os.urandom(30_000))
    expected = (bench.path / "file").read_bytes()
    program.ask("r = os.open(folder + '/x', os.O_RDONLY | os.O_NONBLOCK)")
    program.ask("w = os.open(folder + '/x', os.O_WRONLY)")
    program.ask("f = os.open(folder + '/file', os.O_RDONLY)")
    assert program.ask("os.splice(f, w, 30000)") == "30000"
    program.ask("os.close(f)")
    for filesystem in FILESYSTEMS:
        assert outcomes(bench, filesystem) == {HandleOutcome.IDENTICAL}
    assert program.ask("to_end(r).hex()") == expected.hex()


def test_who_is_killed_while_all_stand_has_closed_its_end(
    bench: Bench, obedient: Callable[..., Program]
) -> None:
    reader, writer = obedient(), obedient()
    os.mkfifo(bench.path / "x")
    told(reader, "r = os.open(folder + '/x', os.O_RDONLY)")
    writer.ask("w = os.open(folder + '/x', os.O_WRONLY)")
    reader.answer()
    reader.ask("p = select.poll(); p.register(r, 0)")
    writer.ask("os.write(w, b'last words')")
    told(reader, "p.poll() == [(r, select.POLLHUP)]")
    waits_in(reader, POLL)
    rebind = bench.rebind()
    rebind.stop()
    rebind.park()
    writer.close()
    undone(bench, rebind)
    assert reader.answer() == "True"
    assert reader.ask("os.read(r, 100)") == "b'last words'"
    assert reader.ask("os.read(r, 100)") == "b''"


def test_an_end_on_its_way_keeps_the_pipe_and_nothing_is_there_twice(
    bench: Bench, obedient: Callable[..., Program]
) -> None:
    """Nobody sees it: the dismount is refused then, and all is undone."""
    program = obedient()
    os.mkfifo(bench.path / "x")
    program.ask("e = os.open(folder + '/x', os.O_RDWR | os.O_NONBLOCK)")
    program.ask("os.write(e, b'once')")
    ours, theirs = socket.socketpair()
    end = os.open(bench.path / "x", os.O_WRONLY)
    socket.send_fds(ours, [b"x"], [end])
    os.close(end)
    rebind = bench.rebind()
    rebind.stop()
    rebind.park()
    undone(bench, rebind)
    assert program.ask("to_end(e)") == "b'once'"
    _, (received,), _, _ = socket.recv_fds(theirs, 1, 1)
    os.write(received, b"and later")
    os.close(received)
    assert program.ask("to_end(e)") == "b'and later'"
    ours.close()
    theirs.close()
