"""Connections that were made through a name on the volume move, both ends, with what is unread."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from holdfast.applications.rebind import park
from holdfast.applications.rebind.agent.descriptor_tables import DescriptorChannel
from holdfast.applications.rebind.connections import exchange, making
from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.rebind import Rebind
from holdfast.applications.rebind.scan import judge
from holdfast.applications.users import find_users
from holdfast.errors import Blocked, HoldfastError
from holdfast.model.handle import HandleKind, HandleOutcome, HandleVerdict
from holdfast.mountpoints.capture import capture
from holdfast.system.files import bound_socket
from holdfast.system.processes import ptrace
from tests.kernel.rebind.bench import Bench, Program
from tests.kernel.rebind.conftest import Hold
from tests.kernel.rebind.failures.test_dies_at_each_call import dying_at
from tests.kernel.rebind.failures.test_sabotage import SABOTAGE
from tests.kernel.rebind.handles.test_unix_sockets import SHELL
from tests.waiting import wait_until

IDENTICAL = {HandleOutcome.IDENTICAL}
Shell = Callable[..., Program]

LISTEN = "l = socket.socket(socket.AF_UNIX, socket.{kind}); l.bind({name!r}); l.listen(9)"
CONNECT = "c = socket.socket(socket.AF_UNIX, socket.{kind}); c.connect({name!r})"
SEEN = "struct.unpack('=iII', {}.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))"


@pytest.fixture
def shell(start: Hold) -> Shell:
    """A program that has done these lines."""

    def begin(*lines: str, within: Sequence[str] = (), **options: Any) -> Program:
        program = start(*within, sys.executable, "-uc", SHELL, **options)
        for line in lines:
            assert program.ask(line) == "None", line
        return program

    return begin


def of_connections(lines: Sequence[ReboundHandle]) -> list[ReboundHandle]:
    return [line for line in lines if line.handle.kind is HandleKind.CONNECTION]


def talk(server: Program, client: Program) -> None:
    for one, end, other, its in ((server, "a", client, "c"), (client, "c", server, "a")):
        assert one.ask(f"{end}.send(b'hello')") == "5"
        assert other.ask(f"{its}.recv(9)") == "b'hello'"


def pair(
    bench: Bench, shell: Shell, kind: str = "SOCK_STREAM", name: str = "s"
) -> tuple[Program, Program]:
    name = str(bench.path / name)
    server = shell(LISTEN.format(name=name, kind=kind))
    client = shell(CONNECT.format(name=name, kind=kind))
    assert server.ask("a = l.accept()[0]") == "None"
    return server, client


@pytest.mark.parametrize("kind", ["SOCK_STREAM", "SOCK_SEQPACKET"])
def test_both_ends_move(bench: Bench, shell: Shell, kind: str) -> None:
    server, client = pair(bench, shell, kind)
    seen = [server.ask(SEEN.format("a")), client.ask(SEEN.format("c"))]
    names = [server.ask("a.getsockname(), a.getpeername()"), client.ask("c.getpeername()")]
    for filesystem in ("xfs", "btrfs", "ext4"):
        server.ask("a.send(b'one'); a.send(b'two!')")
        client.ask("c.send(b'three')")
        lines = of_connections(bench.move(filesystem))
        assert {(line.outcome, line.note) for line in lines} <= {(HandleOutcome.IDENTICAL, "")}
        assert len(lines) == (2 if filesystem == "xfs" else 0)  # it holds nothing any more
        assert server.ask("a.recv(99)") == "b'three'"
        assert client.ask("c.recv(3)") == "b'one'"
        assert client.ask("c.recv(99)") == "b'two!'"
        talk(server, client)
        assert [server.ask(SEEN.format("a")), client.ask(SEEN.format("c"))] == seen
        assert [
            server.ask("a.getsockname(), a.getpeername()"),
            client.ask("c.getpeername()"),
        ] == names


def test_peers_are_named_as_users(bench: Bench, shell: Shell) -> None:
    server, client = pair(bench, shell)
    found = {user.pid: user for user in find_users(capture(str(bench.path)))}
    assert found.keys() == {server.pid, client.pid}
    assert found[client.pid].only_talks
    assert not found[server.pid].only_talks
    judged = {each.handle.pid: each for each in judge(list(found.values()))}
    assert judged[client.pid].verdict is HandleVerdict.RECREATED
    assert "connected through the volume" in judged[client.pid].reason


def test_nobody_who_could_stand_still_has_the_other_end(bench: Bench, shell: Shell) -> None:
    """Holdfast itself, here."""
    name = str(bench.path / "s")
    server = shell(LISTEN.format(name=name, kind="SOCK_STREAM"))
    with socket.socket(socket.AF_UNIX) as mine:
        mine.connect(name)
        server.ask("a = l.accept()[0]")
        with pytest.raises(Blocked, match="has the other end of the connection"):
            bench.move("xfs")
        mine.send(b"hello")
        assert server.ask("a.recv(9)") == "b'hello'"
    assert {line.outcome for line in bench.move("xfs")} == IDENTICAL
    assert server.ask("a.recv(9)") == "b''"


# --- how it stands -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["SOCK_STREAM", "SOCK_SEQPACKET"])
@pytest.mark.parametrize("how", ["SHUT_RD", "SHUT_WR", "SHUT_RDWR"])
@pytest.mark.parametrize("who", ["server", "client"])
def test_half_closed(bench: Bench, shell: Shell, kind: str, how: str, who: str) -> None:
    server, client = pair(bench, shell, kind)
    server.ask("a.send(b'to client')")
    client.ask("c.send(b'to server')")
    (server if who == "server" else client).ask(
        f"{'a' if who == 'server' else 'c'}.shutdown(socket.{how})"
    )
    quiet = "signal.signal(signal.SIGPIPE, signal.SIG_IGN)"
    for each in (server, client):
        each.ask("import signal")
        each.ask(quiet)
        each.ask("p = select.poll()")
    server.ask("p.register(a, 0x2017)")
    client.ask("p.register(c, 0x2017)")
    before = [server.ask("p.poll(0)[0][1]"), client.ask("p.poll(0)[0][1]")]
    assert {line.outcome for line in bench.move("xfs")} == IDENTICAL
    assert [server.ask("p.poll(0)[0][1]"), client.ask("p.poll(0)[0][1]")] == before
    assert server.ask("a.recv(99)") == "b'to server'"
    assert client.ask("c.recv(99)") == "b'to client'"
    sends, receives = {"SHUT_RD": (True, False), "SHUT_WR": (False, True)}.get(how, (False, False))
    one, other = (server, client) if who == "server" else (client, server)
    mine, its = ("a", "c") if who == "server" else ("c", "a")
    assert one.ask(f"{mine}.send(b'x')") == ("1" if sends else "'EPIPE'")
    assert other.ask(f"{its}.recv(9)") == ("b'x'" if sends else "b''")
    assert other.ask(f"{its}.send(b'y')") == ("1" if receives else "'EPIPE'")
    assert one.ask(f"{mine}.recv(9)") == ("b'y'" if receives else "b''")


@pytest.mark.parametrize("unread", [False, True])
@pytest.mark.parametrize("kind", ["SOCK_STREAM", "SOCK_SEQPACKET"])
def test_the_other_end_is_closed(bench: Bench, shell: Shell, kind: str, unread: bool) -> None:
    """With what lies in it still, then the error if the other one had not read everything."""
    server, client = pair(bench, shell, kind)
    if unread:
        server.ask("a.send(b'for nobody')")
    client.ask("c.send(b'last'); c.send(b'words')")
    client.ask("c.close()")
    pid = client.pid
    client.close()
    if unread and kind == "SOCK_SEQPACKET":  # to look would take the error away
        with pytest.raises(Blocked, match="an error"):
            bench.move("xfs")
        assert server.ask("a.recv(4)") == "'ECONNRESET'"
        return
    (line,) = of_connections(bench.move("xfs"))
    assert line.outcome is HandleOutcome.IDENTICAL
    assert line.note == ""
    assert server.ask(SEEN.format("a") + "[0]") == str(pid)
    assert server.ask("a.recv(4)") == "b'last'"
    assert server.ask("a.recv(9)") == "b'words'"
    if unread:
        assert server.ask("a.recv(4)") == "'ECONNRESET'"
    assert server.ask("a.recv(9)") == "b''"


def test_messages_keep_their_senders(bench: Bench, shell: Shell) -> None:
    """Who asked for them (SO_PASSCRED) is told of each message who sent it."""
    server, client = pair(bench, shell)
    server.ask("a.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)")
    child = "os.fork() or (c.send(b'child'), time.sleep(60), os._exit(0))"
    client.ask("import time")
    pid = int(client.ask(child))
    receive = "(lambda m: (m[0], struct.unpack('=iII', m[1][0][2])[0]))(a.recvmsg(99, 99))"
    wait_until(lambda: server.ask("len(a.recv(99, socket.MSG_PEEK))") == "5")
    client.ask("c.send(b'parent')")
    for filesystem in ("xfs", "ext4"):
        bench.move(filesystem)
    assert server.ask(receive) == f"(b'child', {pid})"
    assert server.ask(receive) == f"(b'parent', {client.pid})"
    client.ask(f"os.kill({pid}, 9)")
    talk(server, client)


UNKEPT = {
    "descriptors": ("socket.send_fds(c, [b'x'], [0])", "descriptors are on their way"),
    "urgent": ("c.send(b'x', socket.MSG_OOB)", "urgent data"),
    "filtered": ("c.setsockopt(socket.SOL_SOCKET, 26, bpf)", "a filter is attached"),
}


@pytest.mark.parametrize("what", UNKEPT)
def test_what_cannot_be_kept_is_said(bench: Bench, shell: Shell, what: str) -> None:
    server, client = pair(bench, shell)
    client.ask("import ctypes")
    client.ask("code = ctypes.create_string_buffer(struct.pack('HBBI', 6, 0, 0, 0xffffffff))")
    client.ask("bpf = struct.pack('HL', 1, ctypes.addressof(code))")
    act, words = UNKEPT[what]
    client.ask("c.send(b'before')")
    assert client.ask(act) in ("1", "None")
    with pytest.raises(Blocked, match=words):
        bench.move("xfs")
    assert server.ask("a.recv(6)") == "b'before'"


def test_an_end_on_its_way(bench: Bench, shell: Shell) -> None:
    """Whoever receives it would have the old connection."""
    server, client = pair(bench, shell)
    server.ask("x, y = socket.socketpair(); x.send(b'only bytes'); u, v = socket.socketpair()")
    assert {line.outcome for line in bench.move("xfs")} == IDENTICAL
    server, client = pair(bench, shell, name="t")
    server.ask("x, y = socket.socketpair(); socket.send_fds(x, [b'x'], [a.fileno()])")
    with pytest.raises(Blocked, match="nobody has received yet"):
        bench.move("ext4")
    server.ask("a.close(); a = socket.socket(fileno=socket.recv_fds(y, 1, 1)[1][0])")
    talk(server, client)
    assert {line.outcome for line in bench.move("ext4")} == IDENTICAL
    talk(server, client)


@pytest.mark.parametrize("kind", ["SOCK_STREAM", "SOCK_SEQPACKET"])
def test_full_queues(bench: Bench, shell: Shell, kind: str) -> None:
    """Small messages take much more room than their bytes; some options are not of the default."""
    server, client = pair(bench, shell, kind)
    fill = (
        "def fill(end):\n    end.setblocking(False)\n    count = 0\n    try:\n        while True:\n"
        "            count += end.send(b'%07d' % (count // 7))\n    except BlockingIOError:\n"
        "        end.setblocking(True)\n        return count"
    )
    check = (
        "def check(end, count):\n    got = b''\n    while len(got) < count:\n"
        "        got += end.recv(7)\n"
        "    return got == b''.join(b'%07d' % n for n in range(count // 7))"
    )
    for each in (server, client):
        each.ask(f"exec({fill!r}, globals())")
        each.ask(f"exec({check!r}, globals())")
    client.ask("c.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 30000)")
    counts = int(server.ask("fill(a)")), int(client.ask("fill(c)"))
    for filesystem in ("xfs", "ext4"):
        assert {line.outcome for line in bench.move(filesystem)} <= IDENTICAL
    assert client.ask(f"check(c, {counts[0]})") == "True"
    assert server.ask(f"check(a, {counts[1]})") == "True"
    assert client.ask("c.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)") == "60000"
    talk(server, client)


# --- who waits -----------------------------------------------------------------------------------

WAITS = {
    "recv": "a.recv(9)",
    "poll": "(p.poll(), a.recv(9))[1]",
    "epoll": "(e.poll(), a.recv(9))[1]",
    "edge": "(g.poll(), a.recv(9))[1]",
    "select": "(select.select([a], [], []), a.recv(9))[1]",
}
CALLS = ("45", "0", "7", "232", "281", "23", "270")
"""recvfrom, read, poll, epoll_wait, epoll_pwait, select, pselect6: asm/unistd_64.h."""


@pytest.mark.parametrize("wait", WAITS)
def test_who_waits_for_bytes_waits_again(bench: Bench, shell: Shell, wait: str) -> None:
    server, client = pair(bench, shell)
    for line in (
        "p = select.poll()",
        "p.register(a, select.POLLIN)",
        "e = select.epoll()",
        "e.register(a, select.EPOLLIN)",
        "g = select.epoll()",
        "g.register(a, select.EPOLLIN | select.EPOLLET)",
    ):
        server.ask(line)
    assert server.process.stdin is not None
    server.process.stdin.write(f"{WAITS[wait]}\n")
    server.process.stdin.flush()
    wait_until(lambda: Path(f"/proc/{server.pid}/syscall").read_text().split()[0] in CALLS)
    assert {line.outcome for line in bench.move("xfs")} == IDENTICAL
    assert client.ask("c.send(b'hello')") == "5"
    assert server.answer() == "b'hello'"
    talk(server, client)


def test_processes_that_share_it(bench: Bench, shell: Shell) -> None:
    """A descriptor twice, and in a child; owner and signal; close-on-exec."""
    server, client = pair(bench, shell)
    server.ask("import fcntl, signal, time")
    server.ask("b = os.dup(a.fileno()); os.set_inheritable(b, True)")
    server.ask("hits = []; signal.signal(signal.SIGUSR1, lambda *_: hits.append(1))")
    server.ask("fcntl.fcntl(a, fcntl.F_SETOWN, os.getpid()); fcntl.fcntl(a, 10, signal.SIGUSR1)")
    server.ask("fcntl.fcntl(a, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)")
    child = int(server.ask("os.fork() or (time.sleep(60), os._exit(0))"))
    assert {line.outcome for line in bench.move("xfs")} == IDENTICAL
    links = {
        Path(f"/proc/{pid}/fd/{number}").readlink()
        for pid in (server.pid, child)
        for number in (server.ask("a.fileno()"), server.ask("b"))
    }
    assert len(links) == 1
    assert server.ask("len(hits)") == "0"
    client.ask("c.send(b'hello')")
    wait_until(lambda: server.ask("len(hits)") != "0")
    assert server.ask("os.read(b, 9)") == "b'hello'"
    assert server.ask("a.recv(9)") == "'EAGAIN'"
    assert server.ask("os.get_inheritable(b), os.get_inheritable(a.fileno())") == "(True, False)"
    assert server.ask("fcntl.fcntl(a, fcntl.F_GETOWN) == os.getpid()") == "True"
    server.ask(f"os.kill({child}, 9)")


def test_nothing_of_ours_stays(bench: Bench, shell: Shell) -> None:
    """And the end of file comes when the last one closes it."""
    server, client = pair(bench, shell)
    before = [len(list(Path(f"/proc/{each.pid}/fd").iterdir())) for each in (server, client)]
    bench.move("xfs")
    assert before == [
        len(list(Path(f"/proc/{each.pid}/fd").iterdir())) for each in (server, client)
    ]
    server.ask("a.close()")
    assert client.ask("c.recv(9)") == "b''"


# --- where the ends are --------------------------------------------------------------------------

WITHIN = {
    "network": ("unshare", "--net"),
    "mounts": ("unshare", "--mount", "--propagation=private"),
    "processes": ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc"),
    "user": ("unshare", "--user", "--map-root-user"),
    "rights": ("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"),
}


@pytest.mark.parametrize("where", WITHIN)
def test_clients_elsewhere(bench: Bench, shell: Shell, where: str) -> None:
    name = str(bench.path / "s")
    server = shell(LISTEN.format(name=name, kind="SOCK_STREAM"), f"os.chmod({name!r}, 0o777)")
    client = shell(CONNECT.format(name=name, kind="SOCK_STREAM"), within=WITHIN[where])
    server.ask("a = l.accept()[0]")
    seen = [server.ask(SEEN.format("a")), client.ask(SEEN.format("c"))]
    lines = of_connections(bench.move("xfs"))
    assert {line.outcome for line in lines} == IDENTICAL
    assert {line.note for line in lines} == {""}
    assert [server.ask(SEEN.format("a")), client.ask(SEEN.format("c"))] == seen
    talk(server, client)


def test_who_dropped_rights_since(bench: Bench, shell: Shell) -> None:
    """The server sees user and group of before, and is told of the number."""
    server, client = pair(bench, shell)
    client.ask("os.setgroups([]); os.setgid(1000); os.setuid(1000)")
    seen = server.ask(SEEN.format("a") + "[1:]")
    notes = {line.handle.pid: line.note for line in of_connections(bench.move("xfs"))}
    assert "SO_PEERCRED" in notes[server.pid]
    assert "sees process" in notes[server.pid]
    assert server.ask(SEEN.format("a") + "[1:]") == seen == "(0, 0)"
    talk(server, client)


def test_a_client_that_sees_no_proc(bench: Bench, shell: Shell) -> None:
    name = str(bench.path / "s")
    server = shell(LISTEN.format(name=name, kind="SOCK_STREAM"))
    (bench.folder / "jail").mkdir()
    client = shell(CONNECT.format(name=name, kind="SOCK_STREAM"))
    client.ask(f"os.chroot({str(bench.folder / 'jail')!r}); os.chdir('/')")
    server.ask("a = l.accept()[0]")
    assert {line.outcome for line in bench.move("xfs")} == IDENTICAL
    talk(server, client)


def test_both_ends_in_one_process(bench: Bench, shell: Shell) -> None:
    name = str(bench.path / "s")
    program = shell(LISTEN.format(name=name, kind="SOCK_STREAM"))
    program.ask(CONNECT.format(name=name, kind="SOCK_STREAM"))
    program.ask("a = l.accept()[0]")
    program.ask("a.send(b'unread')")
    assert {line.outcome for line in bench.move("xfs")} == IDENTICAL
    assert program.ask("c.recv(9)") == "b'unread'"
    talk(program, program)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_client_with_a_name(bench: Bench, shell: Shell, elsewhere: bool) -> None:
    """It is the client that keeps the volume busy, whoever it talks to."""
    name = str((bench.folder if elsewhere else bench.path) / "s")
    mine = str(bench.path / "client")
    server = shell(LISTEN.format(name=name, kind="SOCK_STREAM"))
    client = shell(f"c = socket.socket(socket.AF_UNIX); c.bind({mine!r})", f"c.connect({name!r})")
    server.ask("a = l.accept()[0]")
    client.ask("c.send(b'unread')")
    lines = of_connections(bench.move("xfs"))
    assert len(lines) == 2
    assert server.ask("a.getpeername(), a.getsockname()") == repr((mine, name))
    assert client.ask("c.getsockname(), c.getpeername()") == repr((mine, name))
    assert server.ask("a.recv(9)") == "b'unread'"
    talk(server, client)


def test_an_abstract_name_cannot_be_had_twice(bench: Bench, shell: Shell) -> None:
    name = f"\0holdfast-{os.getpid()}"
    mine = str(bench.path / "client")
    server = shell(LISTEN.format(name=name, kind="SOCK_STREAM"))
    client = shell(f"c = socket.socket(socket.AF_UNIX); c.bind({mine!r})", f"c.connect({name!r})")
    with pytest.raises(Blocked, match="nobody has accepted it yet"):
        bench.move("xfs")
    server.ask("a = l.accept()[0]")
    with pytest.raises(Blocked, match="abstract name"):
        bench.move("xfs")
    talk(server, client)


@pytest.mark.parametrize("intruder", ["connects", "fills"])
def test_somebody_else_connects_to_what_is_made(
    bench: Bench, shell: Shell, monkeypatch: pytest.MonkeyPatch, intruder: str
) -> None:
    """Whoever may open descriptors of the client's process sees the place where it connects."""
    server, client = pair(bench, shell)
    ends: list[socket.socket] = []
    make_socket = making.make_socket

    def intruding(*arguments: Any) -> int:
        """A connection of somebody else comes before that of the client."""
        for folder in Path(f"/proc/{os.getpid()}/fd").iterdir() if not ends else ():
            with suppress(OSError):
                while len(ends) < (1 if intruder == "connects" else 99):
                    end = socket.socket(socket.AF_UNIX)
                    end.setblocking(False)
                    end.connect(str(folder))
                    ends.append(end)
                    end.send(b"let me in")
        return int(make_socket(*arguments))

    monkeypatch.setattr(making, "make_socket", intruding)
    client.ask("c.send(b'mine')")
    if intruder == "connects":
        assert {line.outcome for line in bench.move("xfs")} == IDENTICAL
    else:
        with pytest.raises(HoldfastError):
            bench.move("xfs")
    assert ends
    assert server.ask("a.recv(9)") == "b'mine'"
    talk(server, client)
    for end in ends:
        end.close()


def test_more_than_can_be_moved_at_once(
    bench: Bench, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client = pair(bench, shell)
    monkeypatch.setattr(making, "_MOST", 1)
    with pytest.raises(Blocked, match="2 ends of connections"):
        bench.move("xfs")
    talk(server, client)


# --- when somebody dies --------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["server", "client"])
@pytest.mark.parametrize("when", ["_give", "_numbers", "_replace"])
def test_a_process_that_is_killed_while_they_are_exchanged(
    bench: Bench, shell: Shell, monkeypatch: pytest.MonkeyPatch, who: str, when: str
) -> None:
    """The other one reads what had come by then, and the end of it."""
    server, client = pair(bench, shell)
    victim, other = (server, client) if who == "server" else (client, server)
    end = "c" if who == "server" else "a"
    victim.ask(f"{'a' if who == 'server' else 'c'}.send(b'last words')")
    act = getattr(exchange, when)

    def killing(*arguments: Any) -> Any:
        if victim.process.poll() is None:
            victim.process.kill()
            victim.process.wait()
        return act(*arguments)

    monkeypatch.setattr(exchange, when, killing)
    lines = of_connections(bench.move("xfs"))
    outcomes = {line.handle.pid: line.outcome for line in lines}
    assert outcomes.pop(other.pid) is HandleOutcome.IDENTICAL
    assert set(outcomes.values()) <= {HandleOutcome.LOST}  # of one that was asked when it died
    assert other.ask(f"{end}.recv(99)") == "b'last words'"
    assert other.ask(f"{end}.recv(99)") == "b''"


ACTS = (
    *((ptrace, "go_on"), (ptrace, "run"), (DescriptorChannel, "giving")),
    *((making, "in_expendable_child"), (bound_socket, "set_options")),
    *((exchange, "_give"), (exchange, "_replace"), (exchange, "register_again")),
)
"""What an agent does, one after the other, to move a connection."""


def test_agents_die_between_any_two_acts(
    bench: Bench,
    shell: Shell,
    soak_rounds: Callable[[int, int], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AGENTS_DIE", "1")
    name = str(bench.path / "s")
    server = shell(LISTEN.format(name=name, kind="SOCK_SEQPACKET"), "import time")
    server.ask("h = os.fork() or (time.sleep(100), os._exit(0))")
    server.ask("l.setblocking(False)")
    client = shell()
    server.ask("e = select.epoll()")
    for place in count(0, soak_rounds(5, 1)):
        while server.ask("l.accept()[0].close()") != "'EAGAIN'":
            pass  # of an agent that has died
        client.ask(CONNECT.format(name=name, kind="SOCK_SEQPACKET") + "; c.send(b'it is me')")
        server.ask("a = l.accept()[0]; a.setblocking(True)")
        assert server.ask("a.recv(9)") == "b'it is me'"
        server.ask("e.register(a, select.EPOLLIN)")
        server.ask("[a.send(b'%d' % n) for n in range(9)]")
        client.ask("[c.send(b'%d' % n) for n in range(9)]; c.settimeout(5)")
        child = bench.agent(partial(dying_at, place, ACTS), same_inodes=True)
        died = os.WIFSIGNALED(os.waitpid(child, 0)[1])
        rebind = Rebind.regain(bench.record)
        if rebind is not None:
            bench.move_here(rebind, same_inodes=True)
        wanted = repr([b"%d" % number for number in range(9)])
        assert server.ask("e.poll(5)[0][0] == a.fileno()") == "True"
        assert client.ask("[c.recv(9) for _ in range(9)]") == wanted, place
        assert server.ask("[a.recv(9) for _ in range(9)]") == wanted, place
        talk(server, client)
        assert server.ask("a.close()") == "None"
        assert client.ask("c.recv(9)") == "b''", place
        if not died:
            print(f"connection: agents have died up to act {place}")
            server.ask("os.kill(h, 9)")
            return


@pytest.mark.parametrize("sabotage", SABOTAGE)
def test_a_client_that_does_not_do_what_it_is_asked(
    bench: Bench, shell: Shell, monkeypatch: pytest.MonkeyPatch, sabotage: str
) -> None:
    """Its own connection ends with it; the volume is moved, and all others go on."""
    server, client = pair(bench, shell)
    good = shell(CONNECT.format(name=str(bench.path / "s"), kind="SOCK_STREAM"))
    server.ask("b = a; a = l.accept()[0]")
    client.ask("c.send(b'last words')")
    exchanging = park.exchange

    def sabotaging(*arguments: Any) -> None:
        SABOTAGE[sabotage](client.pid)
        exchanging(*arguments)

    monkeypatch.setattr(park, "exchange", sabotaging)
    outcomes = {line.handle.pid: line.outcome for line in of_connections(bench.move("xfs"))}
    assert outcomes.get(client.pid, HandleOutcome.LOST) is HandleOutcome.LOST  # or it has died
    assert outcomes[good.pid] is HandleOutcome.IDENTICAL
    assert server.ask("b.recv(99)") == "b'last words'"
    talk(server, good)
    client.close()
    assert server.ask("b.recv(99)") == "b''"


def test_who_has_something_else_with_a_long_path(bench: Bench, shell: Shell) -> None:
    """The kernel does not tell of what that descriptor is; it is not on the volume."""
    server, client = pair(bench, shell)
    server.ask(f"os.chdir({str(bench.folder)!r})")
    server.ask("[(os.mkdir('d' * 255), os.chdir('d' * 255)) for _ in range(20)]")
    server.ask("e = os.open('file', os.O_RDWR | os.O_CREAT); os.chdir('/')")
    with pytest.raises(OSError, match="too long"):
        Path(f"/proc/{server.pid}/fd/{server.ask('e')}").readlink()
    for filesystem in ("xfs", "ext4"):
        assert {line.outcome for line in bench.move(filesystem)} == IDENTICAL
        talk(server, client)
    assert server.ask("os.write(e, b'hello')") == "5"
