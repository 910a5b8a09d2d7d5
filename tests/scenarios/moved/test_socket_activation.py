"""A server started by socket activation, in a container without root, on a volume that is migrated.

systemd-socket-activate listens at a name on the volume and on a TCP port, and hands both sockets to
bubblewrap, which user `nobody` runs with new namespaces of every kind but the network's: a socket
moves where a process of its namespace has it, and systemd-socket-activate has become bwrap.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.moved.moving import (
    SHORT_WITH_COMMANDS,
    migration,
    move_under_load,
    run,
    started,
)
from tests.scenarios.moved.programs import as_user, free_port, needed
from tests.waiting import wait_until

USER = "nobody"
REQUESTS_BETWEEN = 20
ANSWER_SECONDS = 60.0
KINDS = ("user", "mnt", "pid", "ipc", "uts", "cgroup")

SERVER = """
import os, select, socket
count = int(os.environ["LISTEN_FDS"])
doors = [socket.socket(fileno=3 + number) for number in range(count)]
connections = {}
number = 0
with open("requests", "a", buffering=1) as log:
    while True:
        for ready in select.select([*doors, *connections], [], [])[0]:
            if ready in doors:
                connection, _ = ready.accept()
                connections[connection] = connection.makefile("r")
                continue
            line = connections[ready].readline()
            if not line:
                connections.pop(ready).close()
                ready.close()
                continue
            log.write(f"{number} {line}")
            os.fsync(log.fileno())
            with open("temporary", "w") as file:
                file.write(line)
            os.rename("temporary", "last")
            ready.sendall(f"{number} {open('last').read()}".encode())
            number += 1
"""


def test_no_request_fails(ram_directory: Path, run_holdfast: Callable[..., Any]) -> None:
    activate, bubblewrap, python = needed("systemd-socket-activate", "bwrap", "/usr/bin/python3")
    container = [*as_user(USER), bubblewrap, "--unshare-all", "--share-net", "--die-with-parent"]
    if subprocess.run([*container, "--ro-bind", "/", "/", "true"], check=False, cwd="/").returncode:
        pytest.skip("needs user namespaces for everybody")
    with migration(ram_directory, run_holdfast) as mover:
        folder = mover.path / "service"
        folder.mkdir()
        (folder / "server.py").write_text(SERVER)
        run("chown", "-R", USER, folder)
        door, port = folder / "door", free_port()
        command = [
            *(activate, f"--listen={door}", f"--listen=127.0.0.1:{port}"),
            *(*container, "--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev"),
            *("--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"),
            *("--bind", folder, "/srv", "--chdir", "/srv", python, "server.py"),
        ]
        count = 0

        def load(done: Callable[[], bool]) -> None:
            nonlocal count
            address = ("127.0.0.1", port)
            with closing(socket.create_connection(address, ANSWER_SECONDS)) as connection:
                answers = connection.makefile("r")
                while not done():
                    connection.sendall(f"request {count}\n".encode())
                    assert answers.readline() == f"{count} request {count}\n"
                    count += 1

        def working() -> None:
            before = count
            wait_until(lambda: count >= before + REQUESTS_BETWEEN)

        with started(command, cwd="/", env={"PATH": os.environ["PATH"]}):
            wait_until(door.is_socket)
            moves = move_under_load(mover, load, working, SHORT_WITH_COMMANDS)
            assert all("python3" in " ".join(moved.processes) for moved in moves), moves
            server = _server(folder)
            for kind in KINDS:
                ours = Path(f"/proc/self/ns/{kind}").readlink()
                assert Path(f"/proc/{server}/ns/{kind}").readlink() != ours, kind
            with closing(socket.socket(socket.AF_UNIX)) as client:
                client.settimeout(ANSWER_SECONDS)
                client.connect(str(door))
                client.sendall(b"at the door\n")
                assert client.recv(100) == f"{count} at the door\n".encode()
        lines = (folder / "requests").read_text().splitlines()
        expected = [f"{number} request {number}" for number in range(count)]
        assert lines == [*expected, f"{count} at the door"]


def _server(folder: Path) -> int:
    """The process that has the log open."""
    log = (folder / "requests").stat()
    for path in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            found = path.stat()
        except OSError:
            continue
        if (found.st_dev, found.st_ino) == (log.st_dev, log.st_ino):
            return int(path.parts[2])
    raise AssertionError("nobody has the log open")
