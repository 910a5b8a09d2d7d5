"""Redis with an append-only file on a volume that is moved: nothing acknowledged is lost."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.scenarios.moved.moving import move_under_load, run, started, stopped_copy
from tests.waiting import wait_until

ANSWER_SECONDS = 60.0
REQUESTS_BETWEEN = 100
KEYS = 50


class Connection:
    """A client that speaks as much of the protocol (RESP) as it takes."""

    def __init__(self, address: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(ANSWER_SECONDS)
        self._socket.connect(str(address))
        self._lines = self._socket.makefile("rb")

    def ask(self, *words: object) -> str:
        """The answer to a command. Fails the test on an error."""
        parts = [str(word).encode() for word in words]
        text = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        self._socket.sendall(b"*%d\r\n%s" % (len(parts), text))
        line = self._lines.readline().rstrip(b"\r\n")
        assert line[:1] in b"+:$", (words, line)
        if line[:1] != b"$":
            return line[1:].decode()
        return self._lines.read(int(line[1:]) + 2)[:-2].decode()

    def close(self) -> None:
        """End it."""
        self._lines.close()
        self._socket.close()


class Server:
    """A Redis with everything but its socket on the volume."""

    def __init__(self, program: str, folder: Path, outside: Path, when: str) -> None:
        self.address = outside / "redis.socket"
        self.log = outside / "log"
        self.command = [
            *(program, "--port", "0", "--unixsocket", self.address, "--dir", folder),
            *("--appendonly", "yes", "--appendfsync", when, "--save", "", "--logfile", self.log),
            *("--auto-aof-rewrite-percentage", "50", "--auto-aof-rewrite-min-size", "32kb"),
        ]

    def connect(self) -> Connection:
        """A client, as soon as the server answers."""
        wait_until(self.answers)
        return Connection(self.address)

    def answers(self) -> bool:
        """Whether it has loaded its data."""
        try:
            with closing(Connection(self.address)) as client:
                return client.ask("PING") == "PONG"
        except (OSError, AssertionError):
            return False


@pytest.mark.parametrize("when", ["everysec", "always"])
def test_nothing_acknowledged_is_lost(ram_directory: Path, when: str) -> None:
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("needs redis-server")
    counts = [0] * KEYS
    with stopped_copy(ram_directory) as mover, ExitStack() as stack:
        folder = mover.path / "redis"
        folder.mkdir()
        server = Server(program, folder, ram_directory, when)
        quiet = {"cwd": "/", "stdout": subprocess.DEVNULL}
        redis = stack.enter_context(started(server.command, **quiet))
        client = stack.enter_context(closing(server.connect()))

        def load(done: Callable[[], bool]) -> None:
            while not done():
                for key in range(KEYS):
                    counts[key] += 1
                    assert client.ask("INCR", f"count-{key}") == str(counts[key])
                    client.ask("SET", f"text-{key}", f"{counts[key]} " * 50)

        def working() -> None:
            before = sum(counts)
            wait_until(lambda: sum(counts) >= before + REQUESTS_BETWEEN)

        moves = move_under_load(mover, load, working)
        assert all("redis-server" in moved.processes for moved in moves), moves
        assert client.ask("INFO", "persistence").count("aof_last_write_status:ok") == 1
        redis.terminate()
        assert redis.wait(timeout=20) == 0
        manifest = folder / "appendonlydir" / "appendonly.aof.manifest"
        assert "is valid" in run("redis-check-aof", manifest)
        again = stack.enter_context(started(server.command, **quiet))
        with closing(server.connect()) as reader:
            found = [int(reader.ask("GET", f"count-{key}")) for key in range(KEYS)]
            assert found == counts
            texts = [reader.ask("GET", f"text-{key}") for key in range(KEYS)]
            assert texts == [f"{count} " * 50 for count in counts]
        again.terminate()
        assert again.wait(timeout=20) == 0
        log = server.log.read_text()
        assert "Background AOF rewrite finished successfully" in log
        assert not [line for line in log.splitlines() if " # " in line and "rror" in line], log
