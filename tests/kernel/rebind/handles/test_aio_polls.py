"""Requests of Linux AIO that wait until a Unix socket or a FIFO is ready (IOCB_CMD_POLL): they hold
the old one, and say once too often that it is ready, never that it is over."""

from __future__ import annotations

import os
import select
from itertools import count

import pytest

from holdfast.applications.rebind.rebind import Rebind
from holdfast.errors import InUse
from holdfast.model.handle import HandleOutcome
from holdfast.mountpoints.capture import capture
from holdfast.mountpoints.dismount import dismount
from tests.kernel.rebind.bench import Bench, Program
from tests.kernel.rebind.failures.test_dies_at_each_call import moved_by_one_that_dies
from tests.kernel.rebind.handles.test_connections import Shell, pair, shell, talk

__all__ = ["shell"]

AIO = (
    "import ctypes",
    "libc = ctypes.CDLL(None, use_errno=True); context = ctypes.c_ulong()",
    "assert not libc.syscall(206, 8, ctypes.byref(context))",  # io_setup
    "kept = {}",
    "def poll(number, events):"
    " kept[number] = ctypes.create_string_buffer(struct.pack('=QIIHhIQQqQII', number, 0, 0, 5, 0,"
    " number, events, 0, 0, 0, 0, 0));"
    " one = (ctypes.c_void_p * 1)(ctypes.addressof(kept[number]));"
    " assert libc.syscall(209, context, ctypes.c_long(1), one) == 1",
    "def told(seconds):"
    " room = ctypes.create_string_buffer(32 * 8);"
    " most = ctypes.create_string_buffer(struct.pack('=qq', seconds, 0));"
    " count = libc.syscall(208, context, ctypes.c_long(1), ctypes.c_long(8), room, most);"
    " return [struct.unpack_from('=Qqqq', room, 32 * n)[::2] for n in range(count)]",
)
IN, OUT, RDHUP = select.POLLIN, select.POLLOUT, select.POLLRDHUP
OVER = select.POLLERR | select.POLLHUP | select.POLLRDHUP


def events(program: Program, number: str, seconds: int = 0) -> list[int]:
    return [
        found
        for which, found in eval(program.ask(f"told({seconds})"))
        if which == int(program.ask(number))
    ]


def asynchronous(program: Program) -> None:
    for line in AIO:
        assert program.ask(line) == "None", line


@pytest.mark.parametrize("kind", ["SOCK_STREAM", "SOCK_SEQPACKET"])
def test_ends_of_a_connection(bench: Bench, shell: Shell, kind: str) -> None:
    server, client = pair(bench, shell, kind)
    for program, end in ((server, "a"), (client, "c")):
        asynchronous(program)
        assert program.ask(f"poll({end}.fileno(), {IN | RDHUP})") == "None"
    for filesystem in ("xfs", "ext4"):
        assert {line.outcome for line in bench.move(filesystem)} == {HandleOutcome.IDENTICAL}
    for program, end, other, its in ((server, "a", client, "c"), (client, "c", server, "a")):
        (found,) = events(program, f"{end}.fileno()", 5)
        assert found & IN and not found & OVER
        program.ask(f"poll({end}.fileno(), {IN | RDHUP})")
        assert not events(program, f"{end}.fileno()")
        other.ask(f"{its}.send(b'x')")
        (found,) = events(program, f"{end}.fileno()", 5)
        assert found & IN and not found & OVER
        assert program.ask(f"{end}.recv(9)") == "b'x'"
    talk(server, client)


def test_an_agent_dies_when_all_are_parked(bench: Bench, shell: Shell) -> None:
    server, client = pair(bench, shell)
    asynchronous(client)
    client.ask(f"poll(c.fileno(), {IN})")
    bench.die_parked(60)
    rebind = Rebind.regain(bench.record)
    assert rebind is not None
    bench.move_here(rebind, same_inodes=True)
    (found,) = events(client, "c.fileno()", 5)
    assert found & IN and not found & OVER
    talk(server, client)


def test_one_that_waits_for_room(bench: Bench, shell: Shell) -> None:
    server, client = pair(bench, shell)
    asynchronous(server)
    server.ask("a.setblocking(False); n = 0")
    server.ask("while True: n += a.send(bytes(4096))")
    assert server.ask(f"poll(a.fileno(), {OUT})") == "None"
    assert {line.outcome for line in bench.move("xfs")} == {HandleOutcome.IDENTICAL}
    (found,) = events(server, "a.fileno()", 5)
    assert found & OUT and not found & OVER
    sent = int(server.ask("n"))
    assert client.ask(f"len(c.recv({sent}, socket.MSG_WAITALL))") == str(sent)
    talk(server, client)


@pytest.mark.parametrize("kind", ["SOCK_STREAM", "SOCK_DGRAM"])
def test_sockets_with_a_name(bench: Bench, shell: Shell, kind: str) -> None:
    """What fills their queues while everybody stands ends such a request, too."""
    name = str(bench.path / "s")
    server = shell(f"s = socket.socket(socket.AF_UNIX, socket.{kind}); s.bind({name!r})")
    asynchronous(server)
    if kind == "SOCK_STREAM":
        server.ask("s.listen(9)")
    server.ask("s.setblocking(False)")
    for filesystem in ("xfs", "ext4"):
        assert server.ask(f"poll(s.fileno(), {IN})") == "None"
        assert {line.outcome for line in bench.move(filesystem)} == {HandleOutcome.IDENTICAL}
        (found,) = events(server, "s.fileno()", 5)
        assert found & IN and not found & OVER
        assert server.ask("s.accept()" if kind == "SOCK_STREAM" else "s.recv(9)") == "'EAGAIN'"


def fifo(bench: Bench, shell: Shell, *, asynchronous_end: str) -> tuple[Program, Program]:
    """Who reads, by `r`, and who writes, by `w`; one of them uses AIO."""
    name = str(bench.path / "fifo")
    os.mkfifo(name)
    reader = shell(f"r = os.open({name!r}, os.O_RDONLY | os.O_NONBLOCK)")
    writer = shell(f"w = os.open({name!r}, os.O_WRONLY | os.O_NONBLOCK)")
    asynchronous(reader if asynchronous_end == "r" else writer)
    return reader, writer


def is_told(program: Program, end: str, what: int) -> None:
    """Once, and not that it is over; what it waits for then is told in time."""
    (found,) = events(program, end, 5)
    assert found & what and not found & OVER
    assert not events(program, end)


def reads_on(reader: Program, writer: Program) -> None:
    assert reader.ask("os.read(r, 9)") == "'EAGAIN'"
    assert reader.ask(f"poll(r, {IN})") == "None"
    assert not events(reader, "r")
    assert writer.ask("os.write(w, b'x')") == "1"
    is_told(reader, "r", IN)
    assert reader.ask("os.read(r, 9)") == "b'x'"


def test_who_reads_a_fifo(bench: Bench, shell: Shell) -> None:
    reader, writer = fifo(bench, shell, asynchronous_end="r")
    for filesystem in ("xfs", "btrfs", "ext4"):
        assert reader.ask(f"poll(r, {IN})") == "None"
        assert {line.outcome for line in bench.move(filesystem)} == {HandleOutcome.IDENTICAL}
        is_told(reader, "r", IN)
        reads_on(reader, writer)


@pytest.mark.parametrize("capacity", [4096, 65536])
def test_who_waits_for_room_in_a_fifo(bench: Bench, shell: Shell, capacity: int) -> None:
    reader, writer = fifo(bench, shell, asynchronous_end="w")
    writer.ask("import fcntl")
    assert writer.ask(f"fcntl.fcntl(w, 1031, {capacity})") == str(capacity)  # F_SETPIPE_SZ
    assert writer.ask(f"os.write(w, b'a' * {capacity})") == str(capacity)
    for filesystem in ("xfs", "ext4"):
        assert writer.ask(f"poll(w, {OUT})") == "None"
        assert not events(writer, "w")
        assert {line.outcome for line in bench.move(filesystem)} == {HandleOutcome.IDENTICAL}
        is_told(writer, "w", OUT)
        assert writer.ask("os.write(w, b'x')") == "'EAGAIN'"
    assert writer.ask(f"poll(w, {OUT})") == "None"
    assert reader.ask(f"os.read(r, {2 * capacity}) == b'a' * {capacity}") == "True"
    is_told(writer, "w", OUT)
    assert reader.ask("os.read(r, 9)") == "'EAGAIN'"


def test_an_end_that_is_on_its_way(bench: Bench, shell: Shell) -> None:
    """It keeps the volume busy: all is undone, with what is in the pipe as it was."""
    reader, writer = fifo(bench, shell, asynchronous_end="w")
    sender = shell(
        "a, b = socket.socketpair()",
        f"e = os.open({str(bench.path / 'fifo')!r}, os.O_RDONLY | os.O_NONBLOCK)",
        "socket.send_fds(a, [b'x'], [e]) and None",
        "os.close(e)",
    )
    assert writer.ask("os.write(w, b'a' * 65536)") == "65536"
    assert writer.ask(f"poll(w, {OUT})") == "None"
    rebind = bench.rebind()
    rebind.stop()
    rebind.park()
    with pytest.raises(InUse):
        dismount(capture(str(bench.path)))
    bench.move_here(rebind, same_inodes=True)
    is_told(writer, "w", OUT)
    assert writer.ask("os.write(w, b'x')") == "'EAGAIN'"
    sender.ask("e = socket.recv_fds(b, 9, 1)[1][0]")
    assert sender.ask("os.read(e, 9)") == "b'aaaaaaaaa'"
    assert reader.ask("os.read(r, 65536) == b'a' * 65527") == "True"
    reads_on_without_aio(reader, writer)


def reads_on_without_aio(reader: Program, writer: Program) -> None:
    assert reader.ask("os.read(r, 9)") == "'EAGAIN'"
    assert writer.ask("os.write(w, b'x')") == "1"
    assert reader.ask("os.read(r, 9)") == "b'x'"


def test_who_waits_past_the_deadline(bench: Bench, shell: Shell) -> None:
    """For a FIFO of ours, until that gives way again."""
    reader, writer = fifo(bench, shell, asynchronous_end="r")
    assert reader.ask(f"poll(r, {IN})") == "None"
    bench.die_parked(3)
    is_told(reader, "r", IN)  # it runs
    assert reader.ask(f"poll(r, {IN})") == "None"
    rebind = Rebind.regain(bench.record)
    assert rebind is not None
    bench.move_here(rebind, same_inodes=True)
    is_told(reader, "r", IN)
    reads_on(reader, writer)


@pytest.mark.parametrize("part", range(2))
def test_an_agent_dies_while_somebody_waits_for_a_fifo(
    bench: Bench, shell: Shell, part: int
) -> None:
    """The request ends; whatever it says then, nothing is lost or comes twice."""
    reader, writer = fifo(bench, shell, asynchronous_end="r")
    for call in count(part, 2):
        assert reader.ask(f"poll(r, {IN})") == "None"
        died = moved_by_one_that_dies(bench, call)
        rebind = Rebind.regain(bench.record)
        if rebind is not None:
            bench.move_here(rebind, same_inodes=True)
        if not events(reader, "r"):  # nobody was parked
            assert writer.ask("os.write(w, b'x')") == "1"
            is_told(reader, "r", IN)
            assert reader.ask("os.read(r, 9)") == "b'x'"
        reads_on(reader, writer)
        if not died:
            break
