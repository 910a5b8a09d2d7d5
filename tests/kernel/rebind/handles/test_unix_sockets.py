"""Sockets that accept connections at a name on the volume move, and no connection is lost."""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from holdfast.applications.rebind import doors
from holdfast.applications.rebind.agent.descriptor_tables import DescriptorChannel
from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.rebind import Rebind
from holdfast.applications.rebind.replaying import sockets
from holdfast.errors import Blocked
from holdfast.model.handle import HandleKind, HandleOutcome
from holdfast.system.files import bound_socket
from holdfast.system.processes import ptrace
from tests.kernel.rebind.bench import Bench, Program
from tests.kernel.rebind.conftest import Hold
from tests.kernel.rebind.failures.test_dies_at_each_call import dying_at
from tests.waiting import wait_until

SHELL = """
import errno, os, select, socket, struct, sys, threading
print('ready', flush=True)
for line in sys.stdin:
    try:
        try:
            answer = eval(line, globals())
        except SyntaxError:
            answer = exec(line, globals())
    except OSError as error:
        answer = errno.errorcode[error.errno]
    print(repr(answer), flush=True)
"""
"""Does what it is told: one line of Python each time."""

ACTS = (
    *((ptrace, "go_on"), (ptrace, "run"), (DescriptorChannel, "giving")),
    *((doors, "in_expendable_child"), (doors.Doors, "open"), (doors.Doors, "forget")),
    *((sockets, "in_expendable_child"), (sockets, "note_down"), (bound_socket, "set_options")),
)
"""What an agent does, one after the other, to move a socket."""

LISTEN = "s = socket.socket(socket.AF_UNIX); s.bind({name!r}); s.listen({backlog})"
IDENTICAL = {HandleOutcome.IDENTICAL}
Shell = Callable[..., Program]


@pytest.fixture
def shell(start: Hold) -> Shell:
    """`shell("x = 1", within=("unshare", "--net"))`: a program that has done these lines."""

    def begin(*lines: str, within: Sequence[str] = (), **options: Any) -> Program:
        program = start(*within, sys.executable, "-uc", SHELL, **options)
        for line in lines:
            assert program.ask(line) == "None", line
        return program

    return begin


def client(path: Path, kind: int = socket.SOCK_STREAM, *, waits: bool = True) -> socket.socket:
    end = socket.socket(socket.AF_UNIX, kind)
    end.setblocking(waits)
    end.connect(str(path))
    return end


def seen_by(end: socket.socket) -> tuple[int, int, int]:
    process, user, group = struct.unpack(
        "=iII", end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    )
    return process, user, group


def serves(program: Program, path: Path) -> bool:
    """Whether a connection through the name comes to the program, and what is said gets there."""
    with client(path) as end:
        end.sendall(b"hello")
        program.ask("a = s.accept()[0]")
        answer = program.ask("a.recv(9)")
        program.ask("a.close()")
        return answer == "b'hello'"


def of_sockets(lines: Sequence[ReboundHandle]) -> list[ReboundHandle]:
    return [line for line in lines if line.handle.kind is HandleKind.SOCKET]


def left_over(bench: Bench) -> list[str]:
    return [path.name for path in bench.path.glob(".holdfast*")]


# --- who waits -----------------------------------------------------------------------------------

WAITS = {
    "accept": "s.accept()[0]",
    "poll": "(p.poll(), s.accept()[0])[1]",
    "epoll": "(e.poll(), s.accept()[0])[1]",
    "select": "(select.select([s], [], []), s.accept()[0])[1]",
}


CALLS = ("43", "288", "7", "232", "281", "23", "270")
"""accept, accept4, poll, epoll_wait, epoll_pwait, select, pselect6: asm/unistd_64.h."""


@pytest.mark.parametrize("wait", WAITS)
def test_who_waits_for_a_connection_waits_again(bench: Bench, shell: Shell, wait: str) -> None:
    path = bench.path / "s"
    program = shell(
        LISTEN.format(name=str(path), backlog=5),
        "p = select.poll()",
        "p.register(s, select.POLLIN)",
        "e = select.epoll()",
        "e.register(s, select.EPOLLIN | select.EPOLLEXCLUSIVE)",
    )
    for filesystem in ("xfs", "btrfs", "ext4"):
        assert program.process.stdin is not None
        program.process.stdin.write(f"{WAITS[wait]}.recv(9)\n")
        program.process.stdin.flush()
        while Path(f"/proc/{program.pid}/syscall").read_text().split()[0] not in CALLS:
            time.sleep(0.001)
        assert {line.outcome for line in bench.move(filesystem)} == IDENTICAL
        with client(path) as end:
            end.sendall(b"hello")
            assert program.answer() == "b'hello'"


def test_processes_that_share_it(bench: Bench, shell: Shell) -> None:
    """As servers with several workers have it: one queue, one epoll instance, many who accept."""
    path = bench.path / "s"
    program = shell(
        LISTEN.format(name=str(path), backlog=50),
        "s.setblocking(False)",
        "e = select.epoll()",
        "e.register(s, select.EPOLLIN)",
        "serve = lambda: [e.poll() and (lambda a: (a.sendall(str(os.getpid()).encode()),"
        " a.close()))(s.accept()[0]) for _ in range(1)]",
        "exec('def work():\\n while True:\\n  try:\\n   serve()\\n  except BlockingIOError: pass')",
        "workers = [pid for pid in [os.fork() for _ in range(1)] if pid or work()]",
        "workers += [pid for pid in [os.fork() for _ in range(1)] if pid or work()]",
    )
    for filesystem in ("xfs", "ext4"):
        assert {line.outcome for line in bench.move(filesystem)} == IDENTICAL
        served = set()
        for _ in range(200):
            with client(path) as end:
                served.add(end.recv(9))
        assert len(served) >= 1
    program.ask("[os.kill(pid, 9) for pid in workers]")


# --- connections that wait -----------------------------------------------------------------------


def test_a_connection_that_nobody_accepts(bench: Bench, shell: Shell) -> None:
    """It blocks, is named, and is still there with what was sent."""
    path = bench.path / "s"
    program = shell(LISTEN.format(name=str(path), backlog=5))
    with client(path) as end:
        end.sendall(b"first")
        with pytest.raises(Blocked, match="connections wait") as caught:
            bench.rebind().stop()
        assert f"process {program.pid}: socket {path}" in caught.value.message
        assert not bench.record.exists()
        program.ask("a = s.accept()[0]")
        assert program.ask("a.recv(9)") == "b'first'"
    program.ask("s.setblocking(False)")
    assert program.ask("s.accept()") == "'EAGAIN'"
    program.ask("a.close()")
    assert {line.outcome for line in bench.move("xfs")} == IDENTICAL


def test_queues_that_are_too_long(
    bench: Bench, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are named, and nothing of ours is in them."""
    monkeypatch.setattr(doors, "_MOST", 5)
    path = bench.path / "s"
    program = shell(LISTEN.format(name=str(path), backlog=5))
    with pytest.raises(Blocked, match="6 connections may wait") as caught:
        bench.rebind().stop()
    assert f"process {program.pid}: socket {path}" in caught.value.message
    assert serves(program, path)


def test_nobody_connects_unseen_while_all_stand(bench: Bench, shell: Shell) -> None:
    """From the stop on a connection waits outside; when all go on unmoved, nothing of ours is in
    the queue."""
    path = bench.path / "s"
    program = shell(LISTEN.format(name=str(path), backlog=3))
    rebind = bench.rebind()
    rebind.stop()
    with pytest.raises(BlockingIOError):
        client(path, waits=False)
    come: list[socket.socket] = []
    waiter = threading.Thread(target=lambda: come.append(client(path)))
    waiter.start()
    while not any("unix_wait_for_peer" in task.read_text() for task in _wchans()):
        time.sleep(0.001)
    rebind.release()
    waiter.join(timeout=20)
    come[0].sendall(b"late")
    program.ask("a = s.accept()[0]")
    assert program.ask("a.recv(9)") == "b'late'"
    program.ask("s.setblocking(False)")
    assert program.ask("s.accept()") == "'EAGAIN'"
    come[0].close()
    program.ask("a.close()")
    assert {line.outcome for line in bench.move("xfs")} == IDENTICAL


def _wchans() -> Iterator[Path]:
    return Path("/proc/self/task").glob("*/wchan")


def test_what_connects_is_served(bench: Bench, shell: Shell) -> None:
    """Clients come without a pause, who have nothing to do with the volume: none that was
    connected is ever left without an answer."""
    path = bench.path / "s"
    program = shell(
        LISTEN.format(name=str(path), backlog=20),
        "from contextlib import suppress",
        "exec('def work():\\n while True:\\n  with s.accept()[0] as a, suppress(OSError):"
        " a.sendall(a.recv(9))')",
        "threading.Thread(target=work, daemon=True).start()",
    )
    over = threading.Event()
    unserved: list[object] = []
    served = [0, 0]

    def come(number: int) -> None:
        while not over.wait(0.2 * (number + 1)):
            try:
                end = client(path, waits=number != 0)
            except OSError:
                continue  # refused, or nothing is mounted: never connected
            with end:
                end.settimeout(60)
                try:
                    end.sendall(b"question")
                    answer = end.recv(9)
                except OSError as error:
                    unserved.append(error)
                    continue
                if answer != b"question":
                    unserved.append(answer)
                served[number] += 1

    clients = [threading.Thread(target=come, args=(number,)) for number in range(2)]
    for each in clients:
        each.start()
    moves = 0
    try:
        for filesystem in ("xfs", "ext4") * 50:
            with suppress(Blocked):  # one was being served
                bench.move(filesystem)
                moves += 1
                if moves % 2 == 0:  # six moves may take less time than it is until somebody comes
                    before = sum(served)
                    wait_until(lambda before=before: sum(served) > before)  # type: ignore[misc]
            if moves == 6:
                break
    finally:
        over.set()
        for each in clients:
            each.join()
    assert moves == 6
    assert not unserved
    assert any(served)
    assert program.ask("1") == "1"


def test_where_the_old_mount_is_dead(bench: Bench, shell: Shell) -> None:
    """Nobody is let go on to accept: he would see its errors. What had not been accepted has ended,
    and the outcome says so."""
    path = bench.path / "s"
    program = shell(LISTEN.format(name=str(path), backlog=5))
    with client(path) as end:
        rebind = bench.rebind(storage_answers=False, seized=lambda: None)
        rebind.stop()
        rebind.park()
        with bench.prepared("xfs") as image:
            pass
        with bench.exchanged(image) as bases:
            lines = of_sockets(rebind.rebind(bases))
        rebind.release()
        assert [line.note for line in lines] == ["connections that nobody had accepted have ended"]
        with pytest.raises(OSError):
            end.sendall(b"x")
            end.sendall(b"x")
    assert serves(program, path)


# --- names ---------------------------------------------------------------------------------------


def test_a_name_that_was_removed_or_changed(bench: Bench, shell: Shell) -> None:
    (bench.path / "d").mkdir()
    path, gone = bench.path / "d" / "new", bench.path / "gone"
    program = shell(LISTEN.format(name=str(bench.path / "d" / "s"), backlog=5))
    other = shell(LISTEN.format(name=str(gone), backlog=5))
    (bench.path / "d" / "s").rename(path)
    gone.unlink()
    for filesystem in ("xfs", "ext4"):
        rebind = bench.rebind()
        rebind.stop()
        rebind.park()
        with bench.copied(filesystem, rebind) as bases:
            lines = rebind.rebind(bases)
        rebind.release()
        assert [(line.outcome, line.note) for line in lines] == [(HandleOutcome.IDENTICAL, "")] * 2
        assert serves(program, path)
        assert program.ask("s.getsockname()") == repr(str(bench.path / "d" / "s"))
        assert other.ask("s.getsockname()") == repr(str(gone))
        assert sorted(bench.path.rglob("*")) == sorted([bench.path / "d", path, *_lost(bench)])


def _lost(bench: Bench) -> list[Path]:
    return [bench.path / "lost+found"] * (bench.path / "lost+found").exists()


@pytest.mark.parametrize("there", ["nothing", "file", "link", "folder-gone", "folder-link"])
def test_other_contents(bench: Bench, shell: Shell, there: str) -> None:
    """A server stays reachable where its name is free; what else has the name is left alone."""
    path = bench.path / "d" / "s"
    path.parent.mkdir()
    program = shell(LISTEN.format(name=str(path), backlog=5))

    def change(folder: Path) -> None:
        (folder / "d" / "s").unlink()
        if there == "file":
            (folder / "d" / "s").write_text("mine")
        elif there == "link":
            (folder / "d" / "s").symlink_to("/etc/hostname")
        elif there.startswith("folder"):
            (folder / "d").rmdir()
            if there == "folder-link":
                (folder / "e").mkdir()
                (folder / "d").symlink_to("e")

    (line,) = of_sockets(bench.move("xfs", change))
    assert line.outcome is HandleOutcome.IDENTICAL
    if there == "nothing":
        assert line.note == "bound anew: the contents lacked it"
        assert serves(program, path)
    else:
        assert line.note.startswith("without a name")
        assert not path.is_socket()
    if there == "file":
        assert path.read_text() == "mine"
    assert not left_over(bench)
    assert program.ask("s.getsockname()") == repr(str(path))


def test_other_contents_and_a_user_who_may_make_no_name_there(bench: Bench, shell: Shell) -> None:
    """What is somebody else's there now is not replaced for him."""
    folder = bench.path / "d"
    folder.mkdir()
    folder.chmod(0o777)
    program = shell(
        "os.setresuid(65534, 65534, 65534)", LISTEN.format(name=str(folder / "s"), backlog=5)
    )

    def change(copy: Path) -> None:
        os.chown(copy / "d" / "s", 1, 1)
        (copy / "d").chmod(0o1777)

    (line,) = of_sockets(bench.move("xfs", change))
    assert line.note.startswith("without a name")
    assert (folder / "s").stat().st_uid == 1
    assert program.ask("s.getsockname()") == repr(str(folder / "s"))


def test_properties_of_the_file(bench: Bench, shell: Shell) -> None:
    path = bench.path / "s"
    shell(LISTEN.format(name=str(path), backlog=5))
    path.chmod(0o2604)
    os.chown(path, 7, 8)
    os.setxattr(path, "trusted.x", b"y")
    bench.move("xfs")
    status = path.stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o2604, 7, 8)
    assert os.getxattr(path, "trusted.x") == b"y"


def test_in_a_directory_that_became_immutable(bench: Bench, shell: Shell) -> None:
    path = bench.path / "d" / "s"
    path.parent.mkdir()
    program = shell(LISTEN.format(name=str(path), backlog=5))

    def change(copy: Path) -> None:
        subprocess.run(["chattr", "+i", copy / "d"], check=True)

    (line,) = of_sockets(bench.move("xfs", change))
    assert (line.outcome, line.note) == (HandleOutcome.IDENTICAL, "")
    assert serves(program, path)
    flags = subprocess.check_output(["lsattr", "-d", path.parent], text=True).split()[0]
    assert "i" in flags
    subprocess.run(["chattr", "-i", path.parent], check=True)


def test_the_longest_name(bench: Bench, shell: Shell) -> None:
    name = "x" * (106 - len(str(bench.path)))
    path = bench.path / name
    program = shell(LISTEN.format(name=str(path), backlog=5))
    assert {line.outcome for line in bench.move("xfs")} == IDENTICAL
    assert serves(program, path)


def test_a_mount_that_became_read_only_blocks(bench: Bench, shell: Shell) -> None:
    path = bench.path / "s"
    program = shell(LISTEN.format(name=str(path), backlog=5))
    subprocess.run(["mount", "-o", "remount,ro", bench.path], check=True)
    rebind = bench.rebind()
    rebind.stop()
    with pytest.raises(Blocked, match="read-only"):
        rebind.park()
    assert serves(program, path)


def test_several_names_block(bench: Bench, shell: Shell) -> None:
    path = bench.path / "s"
    program = shell(LISTEN.format(name=str(path), backlog=5))
    os.link(path, bench.path / "t")
    rebind = bench.rebind()
    rebind.stop()
    with pytest.raises(Blocked, match="several names"):
        rebind.park()
    assert serves(program, path)
    assert serves(program, bench.path / "t")


# --- who listens ---------------------------------------------------------------------------------


def test_who_listened_has_ended(bench: Bench, shell: Shell) -> None:
    """As daemons do that fork after they have begun to listen."""
    path = bench.path / "s"
    program = shell(
        "s = socket.socket(socket.AF_UNIX)",
        f"s.bind({str(path)!r})",
        "exec('child = os.fork()\\nif not child:\\n os.setgroups([4, 5]); os.setegid(7);"
        " os.seteuid(6); s.listen(5); os._exit(0)')",
        "_ = os.waitpid(child, 0)",
    )
    with client(path) as end:
        before = seen_by(end)
    assert before[1:] == (6, 7)
    program.ask("s.accept()[0].close()")
    (line,) = of_sockets(bench.move("xfs"))
    assert line.note == ""
    with client(path) as end:
        assert seen_by(end) == before
    program.ask("s.accept()[0].close()")


def test_who_listened_gave_up_rights(bench: Bench, shell: Shell) -> None:
    """Users and groups stay as clients see them; another process number is said."""
    path = bench.path / "s"
    program = shell(
        LISTEN.format(name=str(path), backlog=5),
        "os.setresgid(65534, 65534, 65534)",
        "os.setresuid(65534, 65534, 65534)",
    )
    (line,) = of_sockets(bench.move("xfs"))
    assert line.outcome is HandleOutcome.IDENTICAL
    assert line.note.startswith("clients see process ")
    with client(path) as end:
        assert seen_by(end)[1:] == (0, 0)
    program.ask("s.accept()[0].close()")


def test_socket_activation(bench: Bench, shell: Shell) -> None:
    """One listens, another one, without rights and in a network namespace of its own, accepts."""
    path = bench.path / "s"
    program = shell(
        LISTEN.format(name=str(path), backlog=5),
        "r, w = os.pipe()",
        "import ctypes",
        "exec('child = os.fork()\\nif not child:\\n ctypes.CDLL(None).unshare(0x40000000);"
        ' os.setresgid(9, 9, 9); os.setresuid(9, 9, 9); os.write(w, b"x");'
        ' [a.sendall(b"served") or a.close() for a, _ in iter(s.accept, None)]\')',
        "_ = os.read(r, 1)",
    )
    for filesystem in ("xfs", "ext4"):
        assert {line.outcome for line in bench.move(filesystem)} == IDENTICAL
        with client(path) as end:
            assert end.recv(9) == b"served"
            assert seen_by(end) == (program.pid, 0, 0)
    program.ask("os.kill(child, 9)")


def test_nobody_is_where_it_was_made(bench: Bench, shell: Shell) -> None:
    path = bench.path / "s"
    program = shell(
        LISTEN.format(name=str(path), backlog=5),
        "import ctypes",
        "assert ctypes.CDLL(None).unshare(0x40000000) == 0",
    )
    rebind = bench.rebind()
    rebind.stop()
    with pytest.raises(Blocked, match="network namespace"):
        rebind.park()
    assert serves(program, path)


@pytest.mark.parametrize(
    "within",
    [
        ("unshare", "--net"),
        ("unshare", "--mount", "--pid", "--fork"),
        ("unshare", "--user", "--map-root-user", "--net"),
    ],
)
def test_other_namespaces(bench: Bench, shell: Shell, within: tuple[str, ...]) -> None:
    path = bench.path / "s"
    program = shell(LISTEN.format(name=str(path), backlog=5), within=within)
    for filesystem in ("xfs", "ext4"):
        assert {line.outcome for line in bench.move(filesystem)} == IDENTICAL
        assert serves(program, path)


def test_a_root_of_its_own(bench: Bench, shell: Shell) -> None:
    """The name means something in there only."""
    (bench.path / "jail").mkdir()
    program = shell(
        f"os.chroot({str(bench.path / 'jail')!r})",
        "os.chdir('/')",
        LISTEN.format(name="/s", backlog=5),
    )
    assert {line.outcome for line in bench.move("xfs")} == IDENTICAL
    assert serves(program, bench.path / "jail" / "s")
    assert program.ask("s.getsockname()") == "'/s'"


# --- when somebody dies --------------------------------------------------------------------------


def test_past_the_deadline_it_fails_and_is_put_right(bench: Bench, shell: Shell) -> None:
    path = bench.path / "s"
    program = shell(LISTEN.format(name=str(path), backlog=5))
    bench.die_parked(0.5)
    assert program.ask("s.accept()") == "'EINVAL'"
    rebind = Rebind.regain(bench.record)
    assert rebind is not None
    bench.move_here(rebind, same_inodes=True)
    assert serves(program, path)


def test_killed_at_many_points(
    bench: Bench,
    hold: Hold,
    soak_rounds: Callable[[int, int], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever moves them may die at any instant; nothing of his stays behind, but connections that
    have ended."""
    monkeypatch.setenv("AGENTS_DIE", "1")
    program = hold("listening", "seqpacket", "file", "fork", "inotify", "threads")
    rounds = soak_rounds(25, 300)
    for number in range(rounds):
        child = bench.agent(same_inodes=True)
        _let_run(child, 0.6 * number / rounds)
        rebind = Rebind.regain(bench.record)
        if rebind is not None:
            bench.move_here(rebind, same_inodes=True)
        program.verify()
        assert not left_over(bench)


def test_agents_die_between_any_two_acts(
    bench: Bench,
    hold: Hold,
    soak_rounds: Callable[[int, int], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also before and after each of what is done outside of the process."""
    monkeypatch.setenv("AGENTS_DIE", "1")
    program = hold("listening")
    for place in count(0, soak_rounds(3, 1)):
        child = bench.agent(partial(dying_at, place, ACTS), same_inodes=True)
        died = os.WIFSIGNALED(os.waitpid(child, 0)[1])
        rebind = Rebind.regain(bench.record)
        if rebind is not None:
            bench.move_here(rebind, same_inodes=True)
        program.verify()
        assert not left_over(bench)
        if not died:
            print(f"listening socket: agents have died up to act {place}")
            return


def _let_run(child: int, seconds: float) -> None:
    """Kill it after that time, unless it ends before."""
    pidfd = os.pidfd_open(child)
    try:
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        poller.poll(int(seconds * 1000))
    finally:
        os.close(pidfd)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
