"""Connections with descriptors on their way in them: nobody's keeps the move waiting, or is lost.

To close a descriptor waits for whoever is behind it, and anybody can be: where one became ours, the
agent would hang while all stand, and these tests with it.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from holdfast.applications.rebind.connections import making
from holdfast.errors import Blocked, HoldfastError
from holdfast.model.handle import HandleOutcome
from tests.faults.fuse_tree import FuseTree
from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import Hold
from tests.kernel.rebind.handles.test_connections import IDENTICAL, Shell, pair, shell, talk
from tests.kernel.rebind.handles.test_unix_sockets import LISTEN, SHELL, client, serves

__all__ = ["shell"]

RECEIVED = "(lambda r: (r[0], len(r[1])))(socket.recv_fds(a, 9, 9))"
LINGERS = struct.pack("=ii", 1, 32767)
"""struct linger: hours."""


@pytest.mark.parametrize("kind", ["SOCK_STREAM", "SOCK_SEQPACKET"])
def test_one_that_hangs_when_it_is_closed(
    bench: Bench, shell: Shell, tmp_path: Path, kind: str
) -> None:
    server, peer = pair(bench, shell, kind)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "f").write_text("this")
    with FuseTree(tmp_path / "folder", tmp_path / "tree") as tree:
        peer.ask(f"f = os.open({str(tmp_path / 'tree' / 'f')!r}, os.O_RDONLY)")
        peer.ask("socket.send_fds(c, [b'x'], [f])")
        server.ask("a.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)")
        peer.ask("socket.send_fds(c, [b'y'], [f])")
        tree.stop()
        try:
            with pytest.raises(Blocked, match="descriptors are on their way"):
                bench.move("xfs")
        finally:
            tree.resume()
        assert server.ask(RECEIVED) == "(b'x', 1)"
        peer.close()
        server.close()


@pytest.mark.parametrize("end", ["c.shutdown(socket.SHUT_WR)", "c.close()"])
@pytest.mark.parametrize("before", [b"", b"abc"])
def test_one_with_the_last_message_which_has_no_byte(
    bench: Bench, shell: Shell, end: str, before: bytes
) -> None:
    """poll(2) tells of the end of the connection, and of nothing before it."""
    server, peer = pair(bench, shell, "SOCK_SEQPACKET")
    if before:
        peer.ask(f"c.send({before!r})")
    peer.ask("socket.send_fds(c, [b''], [0])")
    assert peer.ask(end) == "None"
    with pytest.raises(Blocked, match="descriptors are on their way"):
        bench.move("xfs")
    if before:
        assert server.ask(RECEIVED) == f"({before!r}, 0)"
    assert server.ask(RECEIVED) == "(b'', 1)"
    assert {line.outcome for line in bench.move("xfs")} == IDENTICAL


@pytest.fixture
def slow() -> Iterator[socket.socket]:
    """A socket that waits, when the last one closes it, until its peer has got everything."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        end = socket.create_connection(listening.getsockname())
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGERS)
        end.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                end.send(bytes(1 << 16))
        yield end


def test_one_in_a_connection_that_nobody_accepts(
    bench: Bench, shell: Shell, slow: socket.socket
) -> None:
    """Where the old mount is dead it ends with the old socket."""
    path = bench.path / "s"
    program = shell(LISTEN.format(name=str(path), backlog=5))
    with client(path) as end:
        socket.send_fds(end, [b"x"], [slow.fileno()])
        slow.close()
        rebind = bench.rebind(storage_answers=False, seized=lambda: None)
        rebind.stop()
        rebind.park()
        with bench.prepared("xfs") as image:
            pass
        with bench.exchanged(image) as bases:
            (line,) = rebind.rebind(bases)
        rebind.release()
    assert line.outcome is HandleOutcome.IDENTICAL
    assert serves(program, path)


@pytest.mark.parametrize("count", [1, 99])
def test_one_of_a_stranger_who_connects_to_what_is_made(
    bench: Bench, shell: Shell, slow: socket.socket, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    server, other = pair(bench, shell)
    ends: list[socket.socket] = []
    make_socket = making.make_socket

    def intruding(*arguments: Any) -> int:
        for folder in Path(f"/proc/{os.getpid()}/fd").iterdir() if not ends else ():
            with suppress(OSError):
                while len(ends) < count:
                    end = socket.socket(socket.AF_UNIX)
                    end.setblocking(False)
                    end.connect(str(folder))
                    ends.append(end)
                    socket.send_fds(end, [b"let me in"], [slow.fileno()])
        if ends:
            slow.close()
        return int(make_socket(*arguments))

    monkeypatch.setattr(making, "make_socket", intruding)
    try:
        if count == 1:
            assert {line.outcome for line in bench.move("xfs")} == IDENTICAL
        else:
            with pytest.raises(HoldfastError):
                bench.move("xfs")
        assert ends
        assert slow.fileno() < 0
        talk(server, other)
    finally:
        for end in ends:
            end.close()


# --- an end itself is on its way -----------------------------------------------------------------

OWN_TABLE = """
import ctypes, queue
words, done = queue.Queue(), queue.Queue()
def serve():
    ctypes.CDLL(None).unshare(0x400)  # CLONE_FILES
    done.put(0)
    while True:
        exec(words.get(), globals())
        done.put(0)
x, y = socket.socketpair()
threading.Thread(target=serve, daemon=True).start()
done.get()
def there(line):
    words.put(line)
    done.get()
"""
"""`there(LINE)` does it in a thread with a table of its own; both have x and y."""

WITHOUT_LEADER = f"""
import ctypes, threading
threading.Thread(target=exec, args=({SHELL!r}, {{}})).start()
ctypes.CDLL(None).syscall(60, 0)  # exit: only of this thread
"""


@pytest.mark.parametrize("who", ["sends", "receives"])
def test_only_a_thread_with_a_table_of_its_own(bench: Bench, shell: Shell, who: str) -> None:
    server, other = pair(bench, shell)
    server.ask(f"exec({OWN_TABLE!r}, globals())")
    here, there = ("y", "x") if who == "sends" else ("x", "y")
    server.ask(f"(os.close({there}.fileno()), there('os.close({here}.fileno())'))")
    send = "socket.send_fds(x, [b'x'], [a.fileno()])"
    server.ask(f"there({send!r})" if who == "sends" else send)
    with pytest.raises(Blocked, match="nobody has received yet"):
        bench.move("xfs")
    talk(server, other)


def test_its_receiver_has_lost_its_main_thread(bench: Bench, shell: Shell, start: Hold) -> None:
    server, other = pair(bench, shell)
    receiver = start(sys.executable, "-uc", WITHOUT_LEADER)
    name = f"\0{receiver.pid}"
    receiver.ask(f"s = socket.socket(socket.AF_UNIX); s.bind({name!r}); s.listen()")
    server.ask(f"x = socket.socket(socket.AF_UNIX); x.connect({name!r})")
    receiver.ask("a = s.accept()[0]; s.close()")
    server.ask("socket.send_fds(x, [b'x'], [a.fileno()])")
    with pytest.raises(Blocked, match="nobody has received yet"):
        bench.move("xfs")
    assert receiver.ask(RECEIVED) == "(b'x', 1)"
    talk(server, other)
