"""Requests of Linux AIO that wait until a Unix socket is ready (IOCB_CMD_POLL): they hold the old
one, and say once too often that it is ready, never that it is over."""

from __future__ import annotations

import select

import pytest

from holdfast.applications.rebind.rebind import Rebind
from holdfast.model.handle import HandleOutcome
from tests.kernel.rebind.bench import Bench, Program
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
