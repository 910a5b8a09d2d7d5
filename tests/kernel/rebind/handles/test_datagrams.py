"""Datagram sockets with a name on the volume move, with what waits in them and who sends there."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from holdfast.applications.rebind.agent.descriptor_tables import DescriptorChannel
from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.parking import parked_datagrams
from holdfast.applications.rebind.parking.parked_datagrams import ParkedDatagrams
from holdfast.applications.rebind.parking.record import ParkingRecord
from holdfast.applications.rebind.rebind import Rebind
from holdfast.applications.rebind.replaying import datagrams, sockets
from holdfast.errors import Blocked
from holdfast.model.handle import HandleKind, HandleOutcome
from holdfast.mountpoints.capture import capture
from holdfast.system.processes import ptrace
from tests.faults.fuse_tree import FuseTree
from tests.kernel.rebind.bench import Bench, Program
from tests.kernel.rebind.conftest import Hold
from tests.kernel.rebind.failures.test_dies_at_each_call import dying_at
from tests.kernel.rebind.handles.test_unix_sockets import SHELL
from tests.kernel.rebind.processes.test_ring import ring

__all__ = ["ring"]

MADE = "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)"
BOUND = MADE + "; s.bind({!r})"
TOLD = "s.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)"
NEXT = (
    "(lambda d, c, f, a: (d, [struct.unpack('=iII', e[2]) for e in c], a))"
    "(*s.recvmsg(1 << 21, 999, socket.MSG_DONTWAIT))"
)
"""What comes next: its bytes, process, user and group of its sender, and the name of that."""

Shell = Callable[..., Program]


@pytest.fixture
def shell(start: Hold) -> Shell:
    """As in test_unix_sockets."""

    def begin(*lines: str, within: Sequence[str] = (), **options: Any) -> Program:
        program = start(*within, sys.executable, "-uc", SHELL, **options)
        for line in lines:
            assert program.ask(line) == "None", line
        return program

    return begin


def of(kind: HandleKind, lines: Sequence[ReboundHandle]) -> list[ReboundHandle]:
    return [line for line in lines if line.handle.kind is kind]


def all_identical(lines: Sequence[ReboundHandle]) -> bool:
    return all(line.outcome is HandleOutcome.IDENTICAL and not line.note for line in lines)


def send(path: Path, data: bytes, name: str | bytes = "") -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as end:
        if name:
            end.bind(name)
        end.sendto(data, str(path))


# --- what waits ----------------------------------------------------------------------------------


def test_what_waits_goes_along(bench: Bench, shell: Shell, tmp_path: Path) -> None:
    """In order, of any size, with names and credentials of who sent it, also who has ended."""
    path = bench.path / "s"
    program = shell(BOUND.format(str(path)), TOLD)
    name = str(tmp_path / "from")
    send(path, b"first")
    send(path, b"")
    send(path, b"named", name)
    send(path, b"")
    send(path, b"abstract", b"\0here")
    send(path, b"\xff" * 150_000)
    sent_by = (
        "import os, socket; os.setgid(7); os.setuid(6);"
        f" socket.socket(1, 2).sendto(str(os.getpid()).encode(), {str(path)!r})"
    )
    path.chmod(0o777)
    subprocess.run([sys.executable, "-c", sent_by], check=True)
    send(path, b"last")
    for filesystem in ("xfs", "btrfs", "ext4"):
        lines = bench.move(filesystem)
        assert lines
        assert all_identical(lines), lines
    us = [(os.getpid(), 0, 0)]
    for expected in (
        (b"first", us, None),
        (b"", us, None),
        (b"named", us, name),
        (b"", us, None),
        (b"abstract", us, b"\0here"),
        (b"\xff" * 150_000, us, None),
    ):
        assert program.ask(NEXT) == repr(expected)
    data, credentials, sender = eval(program.ask(NEXT))
    assert (credentials, sender) == ([(int(data), 6, 7)], None)
    assert program.ask(NEXT) == repr((b"last", us, None))
    assert program.ask(NEXT) == "'EAGAIN'"


def test_the_kernel_keeps_back_who_sends_to_a_full_socket(bench: Bench, shell: Shell) -> None:
    """A sender by name that waits for room looks the name up again, and gets there once."""
    path = bench.path / "s"
    program = shell(BOUND.format(str(path)))
    sent = 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as end:
        while True:
            try:
                end.sendto(b"%d" % sent, str(path))
            except BlockingIOError:
                break
            sent += 1
    lines = bench.move("xfs")
    assert all_identical(lines), lines
    for number in range(sent):
        assert program.ask("s.recv(9, socket.MSG_DONTWAIT)") == repr(b"%d" % number)
    assert program.ask("s.recv(9, socket.MSG_DONTWAIT)") == "'EAGAIN'"


def test_descriptors_on_their_way(bench: Bench, shell: Shell, tmp_path: Path) -> None:
    path = bench.path / "s"
    program = shell(BOUND.format(str(path)))
    (tmp_path / "f").write_text("this")
    with (
        (tmp_path / "f").open() as file,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end,
    ):
        end.connect(str(path))
        socket.send_fds(end, [b"x"], [file.fileno()])
    assert all_identical(of(HandleKind.SOCKET, bench.move("xfs")))
    program.ask("d, f, _, _ = socket.recv_fds(s, 9, 9)")
    assert program.ask("(d, [os.read(n, 9) for n in f])") == repr((b"x", [b"this"]))


def test_a_descriptor_that_hangs_when_it_is_closed(
    bench: Bench, shell: Shell, tmp_path: Path
) -> None:
    """Anybody can send one of a FUSE file system of his, and stop its server."""
    path = bench.path / "s"
    program = shell(BOUND.format(str(path)))
    for name in ("folder", "tree"):
        (tmp_path / name).mkdir()
    (tmp_path / "folder" / "f").write_text("this")
    with FuseTree(tmp_path / "folder", tmp_path / "tree") as tree:
        with (
            (tmp_path / "tree" / "f").open() as file,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end,
        ):
            end.connect(str(path))
            socket.send_fds(end, [b"x"], [file.fileno()])
        tree.stop()
        try:
            for filesystem in ("xfs", "ext4"):
                lines = bench.move(filesystem)
                assert all_identical(lines), lines
        finally:
            tree.resume()
        program.ask("d, f, _, _ = socket.recv_fds(s, 9, 9)")
        assert program.ask("(d, [os.read(n, 9) for n in f])") == repr((b"x", [b"this"]))
        program.ask("[os.close(n) for n in f]")


def test_descriptors_end_with_an_agent_that_dies(bench: Bench, shell: Shell) -> None:
    """They are in no record; what they were sent with comes, and the outcome says so."""
    path = bench.path / "s"
    program = shell(BOUND.format(str(path)))
    with (
        Path("/etc/hostname").open() as file,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end,
    ):
        end.connect(str(path))
        socket.send_fds(end, [b"x"], [file.fileno()])
        end.send(b"y")
    bench.die_parked(60)
    rebind = Rebind.regain(bench.record)
    assert rebind is not None
    bases = {point.id: os.open(bench.path, os.O_PATH) for point in capture(str(bench.path))}
    (line,) = of(HandleKind.SOCKET, rebind.rebind(bases, same_inodes=True))
    rebind.release()
    for descriptor in bases.values():
        os.close(descriptor)
    words = "a datagram that waited: without the descriptors that were sent with it"
    assert (line.outcome, line.note) == (HandleOutcome.IDENTICAL, words)
    assert program.ask("(s.recv(9), s.recv(9))") == "(b'x', b'y')"


def test_credentials_that_nobody_asked_for(bench: Bench, shell: Shell) -> None:
    path = bench.path / "s"
    program = shell(BOUND.format(str(path)))
    send(path, b"x")
    assert all_identical(bench.move("xfs"))
    program.ask(TOLD)
    assert program.ask(NEXT) == repr((b"x", [(0, 65534, 65534)], None))


# --- who sends -----------------------------------------------------------------------------------


def test_who_is_connected_is_connected_again(bench: Bench, shell: Shell, tmp_path: Path) -> None:
    """Also one that has nothing else of the volume, has a name, or is in another namespace."""
    path = bench.path / "s"
    program = shell(BOUND.format(str(path)))
    senders = {
        str(tmp_path / f"c{number}"): shell(
            MADE,
            f"s.bind({str(tmp_path / f'c{number}')!r})",
            f"s.connect({str(path)!r})",
            within=it,
        )
        for number, it in enumerate(((), ("unshare", "--net", "--pid", "--fork")))
    }
    for filesystem in ("xfs", "ext4"):
        lines = bench.move(filesystem)
        assert len(of(HandleKind.SENDER, lines)) == len(senders)
        assert all_identical(lines), lines
        for name, sender in senders.items():
            assert sender.ask("s.send(b'hello')") == "5"
            assert program.ask("s.recvfrom(9)") == repr((b"hello", name))
            assert program.ask(f"s.sendto(b'answer', {name!r})") == "6"
            assert sender.ask("s.recv(9)") == "b'answer'"


def test_a_sender_that_waits_for_room(bench: Bench, shell: Shell) -> None:
    """Its call is made again, and nothing comes twice."""
    path = bench.path / "s"
    program = shell(BOUND.format(str(path)))
    sender = shell(MADE, f"s.connect({str(path)!r})")
    assert sender.process.stdin is not None
    sender.process.stdin.write("[s.send(b'%d' % n) for n in range(30)] and None\n")
    sender.process.stdin.flush()
    while " 44 " not in f" {Path(f'/proc/{sender.pid}/syscall').read_text()}":  # sendto
        os.sched_yield()
    assert all_identical(bench.move("xfs"))
    for number in range(30):
        assert program.ask("s.recv(9)") == repr(b"%d" % number)
    assert sender.answer() == "None"
    assert program.ask("s.recv(9, socket.MSG_DONTWAIT)") == "'EAGAIN'"


def test_an_answer_that_waits_is_not_thrown_away(
    bench: Bench, shell: Shell, tmp_path: Path
) -> None:
    """Connecting again would: everybody goes on to receive it, and nothing was changed."""
    path, name = bench.path / "s", str(tmp_path / "c")
    program = shell(BOUND.format(str(path)))
    sender = shell(MADE, f"s.bind({name!r})", f"s.connect({str(path)!r})")
    program.ask(f"s.sendto(b'answer', {name!r})")
    with pytest.raises(Blocked, match="has not received yet"):
        bench.rebind().stop()
    assert sender.ask("s.recv(9)") == "b'answer'"
    assert all_identical(bench.move("xfs"))
    assert sender.ask("s.send(b'x')") == "1"
    assert program.ask("s.recv(9)") == "b'x'"


# --- those that are connected themselves ----------------------------------------------------------


PEER = "s.getpeername()"


@pytest.mark.parametrize(
    ("where", "back"), [("on it", False), ("on it", True), ("elsewhere", True), ("abstract", True)]
)
def test_one_that_is_connected_itself(
    bench: Bench, shell: Shell, tmp_path: Path, where: str, back: bool
) -> None:
    """With what waits in it, also of others; from then on only the other one may send to it."""
    path = bench.path / "s"
    name = {"on it": str(bench.path / "other"), "elsewhere": str(tmp_path / "other")}.get(
        where, "\0other"
    )
    other = shell(BOUND.format(name))
    program = shell(BOUND.format(str(path)))
    send(path, b"before")
    program.ask(f"s.connect({name!r})")
    if back:
        other.ask(f"s.connect({str(path)!r})")
    seen = program.ask(PEER)
    for number, filesystem in enumerate(("xfs", "btrfs", "ext4")):
        to = "s.send(b'x')" if back else f"s.sendto(b'x', {str(path)!r})"
        assert other.ask(to) == "1"
        lines = bench.move(filesystem)
        assert all_identical(lines), lines
        assert program.ask(PEER) == seen
        assert program.ask("s.recv(9)") == ("b'x'" if number else "b'before'")
        with pytest.raises(PermissionError):
            send(path, b"refused")
        assert program.ask("s.send(b'answer')") == "6"
        assert other.ask("s.recvfrom(9)") == f"(b'answer', {str(path)!r})"
    assert program.ask("s.recv(9)") == "b'x'"
    assert program.ask("s.recv(9, socket.MSG_DONTWAIT)") == "'EAGAIN'"


@pytest.mark.parametrize("how", ["SHUT_RD", "SHUT_WR", "SHUT_RDWR"])
@pytest.mark.parametrize("connected", [False, True])
def test_one_that_was_shut_down(bench: Bench, shell: Shell, how: str, connected: bool) -> None:
    path, name = bench.path / "s", str(bench.path / "other")
    other = shell(BOUND.format(name))
    program = shell(BOUND.format(str(path)))
    if connected:
        program.ask(f"s.connect({name!r})")
    other.ask(f"s.sendto(b'x', {str(path)!r})")
    program.ask(f"s.shutdown(socket.{how})")
    for filesystem in ("xfs", "ext4"):
        lines = bench.move(filesystem)
        assert all_identical(lines), lines
        sent = other.ask(f"s.sendto(b'y', {str(path)!r})")
        assert sent == ("1" if how == "SHUT_WR" else "'EPIPE'")
        sent = program.ask("s.send(b'z')" if connected else f"s.sendto(b'z', {name!r})")
        assert sent == ("1" if how == "SHUT_RD" else "'EPIPE'")
    assert program.ask("s.recv(9)") == "b'x'"
    assert program.ask("s.recv(9)") == ("b'y'" if how == "SHUT_WR" else "b''")


@pytest.mark.parametrize("what", ["elsewhere", "gone", "no name"])
def test_one_that_cannot_be_connected_again_blocks(
    bench: Bench, shell: Shell, tmp_path: Path, what: str
) -> None:
    """Who has the other one, elsewhere, need not stand still because somebody connected to it."""
    path, name = bench.path / "s", str(tmp_path / "other")
    receiver = shell(BOUND.format(name))
    if what == "no name":
        shell(f"s, t = socket.socketpair(type=socket.SOCK_DGRAM); s.bind({str(path)!r})")
    else:
        shell(BOUND.format(str(path)), f"s.connect({name!r})")
    if what == "gone":
        receiver.close()
    with pytest.raises(Blocked, match="elsewhere, or gone, or has no name"):
        bench.rebind().stop()


def test_one_connected_to_what_nobody_has_blocks(bench: Bench, shell: Shell) -> None:
    """The other one is on its way: found when all stand."""
    path, name = bench.path / "s", str(bench.path / "other")
    receiver = shell(BOUND.format(name), "a, b = socket.socketpair()")
    program = shell(BOUND.format(str(path)), f"s.connect({name!r})")
    receiver.ask("socket.send_fds(a, [b'x'], [s.fileno()])")
    receiver.ask("s.close()")
    rebind = bench.rebind()
    rebind.stop()
    with pytest.raises(Blocked, match="nobody who could stand still"):
        rebind.park()
    assert program.ask("s.send(b'x')") == "1"
    assert receiver.ask("s = socket.socket(fileno=socket.recv_fds(b, 9, 1)[1][0])") == "None"
    assert receiver.ask("s.recv(9)") == "b'x'"


@pytest.mark.parametrize("part", range(2))
def test_agents_die_while_one_is_connected_itself(
    bench: Bench, shell: Shell, tmp_path: Path, part: int
) -> None:
    path, name = str(bench.path / "s"), str(tmp_path / "other")
    other = shell(BOUND.format(name))
    program = shell(BOUND.format(path), f"s.connect({name!r})")
    other.ask(f"s.connect({path!r})")
    for place in count(part, 2):
        other.ask("s.send(b'x')")
        child = bench.agent(partial(dying_at, place, ACTS), same_inodes=True)
        died = os.WIFSIGNALED(os.waitpid(child, 0)[1])
        rebind = Rebind.regain(bench.record)
        if rebind is not None:
            bench.move_here(rebind, same_inodes=True)
        assert program.ask("s.recv(9, socket.MSG_DONTWAIT)") == "b'x'"
        assert program.ask("s.recv(9, socket.MSG_DONTWAIT)") == "'EAGAIN'"
        assert program.ask("s.send(b'y')") == "1"
        assert other.ask("s.recv(9, socket.MSG_DONTWAIT)") == "b'y'"
        if not died:
            return


@pytest.mark.parametrize("what", ["socket", "sender"])
def test_a_ring_with_a_request_that_waits_blocks(
    bench: Bench, shell: Shell, start: Hold, ring: Path, what: str
) -> None:
    """It may be about the socket, and would go on while its process stands."""
    path = bench.path / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        if what == "socket":
            end.bind(str(path))
        else:
            program = shell(BOUND.format(str(path)))
            end.connect(str(path))
        running = start(ring, bench.path / "file", "waiting", pass_fds=[end.fileno()])
    rebind = bench.rebind()
    rebind.stop()
    with pytest.raises(Blocked, match="ring of io_uring"):
        rebind.park()
    running.verify()
    send(path, b"x")
    if what == "sender":
        assert program.ask("s.recv(9)") == "b'x'"


def test_many_of_each(bench: Bench, shell: Shell) -> None:
    """Each sender is connected to its own socket again."""
    folder = str(bench.path)
    program = shell(
        f"made = lambda n: (s := socket.socket(1, 2)).bind({folder!r} + '/%d' % n) or s",
        "all = [made(n) for n in range(30)]",
    )
    sender = shell(
        f"made = lambda n: (s := socket.socket(1, 2)).connect({folder!r} + '/%d' % n) or s",
        "all = [made(n % 30) for n in range(300)]",
    )
    sender.ask("[each.send(b'%d' % n) for n, each in enumerate(all[:30])]")
    for filesystem in ("xfs", "ext4"):
        lines = bench.move(filesystem)
        assert (len(of(HandleKind.SOCKET, lines)), len(of(HandleKind.SENDER, lines))) == (30, 300)
        assert all_identical(lines), lines
    sender.ask("[each.send(b'%d' % n) for n, each in enumerate(all[60:240])]")
    for turn in range(7):
        text = "[each.recv(9, socket.MSG_DONTWAIT) for each in all]"
        assert program.ask(text) == repr([b"%d" % (n + max(turn - 1, 0) * 30) for n in range(30)])


# --- the rest of it ------------------------------------------------------------------------------


def test_options_threads_and_who_shares_it(bench: Bench, shell: Shell) -> None:
    """A child without rights that shares it, and a thread that waits in it."""
    path = bench.path / "s"
    program = shell(
        BOUND.format(str(path)),
        TOLD,
        "s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 77777)",
        "r, w = os.pipe()",
        "exec('child = os.fork()\\nif not child:\\n os.setresgid(9, 9, 9);"
        " os.setresuid(9, 9, 9)\\n while True: os.write(w, s.recv(99))')",
    )
    size = program.ask("s.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)")
    for filesystem in ("xfs", "ext4"):
        assert all_identical(bench.move(filesystem))
        send(path, b"x")
        assert program.ask("os.read(r, 9)") == "b'x'"
        assert program.ask("s.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)") == size
        assert program.ask("s.getsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED)") == "1"
        assert program.ask("s.getsockname()") == repr(str(path))
    program.ask("os.kill(child, 9)")
    assert not [each.name for each in bench.path.glob(".holdfast*")]


@pytest.mark.parametrize(
    "within", [("unshare", "--net"), ("unshare", "--user", "--map-root-user", "--net")]
)
def test_other_namespaces(bench: Bench, shell: Shell, within: tuple[str, ...]) -> None:
    path = bench.path / "s"
    program = shell(BOUND.format(str(path)), within=within)
    send(path, b"x")
    assert all_identical(bench.move("xfs"))
    send(path, b"y")
    assert program.ask("(s.recv(9), s.recv(9))") == "(b'x', b'y')"


def test_other_contents_lack_the_name(bench: Bench, shell: Shell) -> None:
    path = bench.path / "s"
    program = shell(BOUND.format(str(path)))
    send(path, b"x")
    (line,) = bench.move("xfs", lambda folder: (folder / "s").unlink())
    assert line.note == "bound anew: the contents lacked it"
    send(path, b"y")
    assert program.ask("(s.recv(9), s.recv(9))") == "(b'x', b'y')"


def test_past_the_deadline_it_fails_and_is_put_right(bench: Bench, shell: Shell) -> None:
    path = bench.path / "s"
    program = shell(BOUND.format(str(path)))
    sender = shell(MADE, f"s.connect({str(path)!r})")
    send(path, b"x")
    bench.die_parked(0.5)
    assert program.ask("s.recv(9)") == "'EINVAL'"
    assert sender.ask("s.send(b'y')") == "'ECONNREFUSED'"
    rebind = Rebind.regain(bench.record)
    assert rebind is not None
    bench.move_here(rebind, same_inodes=True)
    assert sender.ask("s.send(b'y')") == "1"
    assert program.ask("(s.recv(9), s.recv(9))") == "(b'x', b'y')"


ACTS = (
    *((ptrace, "go_on"), (ptrace, "run"), (DescriptorChannel, "giving"), (ParkingRecord, "write")),
    *((parked_datagrams, "in_expendable_child"), (parked_datagrams, "waiting_in")),
    *((ParkedDatagrams, "_write"), (ParkedDatagrams, "send_again"), (ParkedDatagrams, "close")),
    *((sockets, "in_expendable_child"), (datagrams, "in_expendable_child")),
)
"""What an agent does, one after the other, to move a datagram socket."""


def test_agents_die_between_any_two_acts(
    bench: Bench, hold: Hold, soak_rounds: Callable[[int, int], int]
) -> None:
    """Nothing is lost, and nothing comes twice, or from nowhere."""
    program = hold("datagram")
    for place in count(0, soak_rounds(7, 1)):
        child = bench.agent(partial(dying_at, place, ACTS), same_inodes=True)
        died = os.WIFSIGNALED(os.waitpid(child, 0)[1])
        rebind = Rebind.regain(bench.record)
        if rebind is not None:
            bench.move_here(rebind, same_inodes=True)
        program.verify()
        assert not [each.name for each in bench.path.glob(".holdfast*")]
        if not died:
            print(f"datagram socket: agents have died up to act {place}")
            return
