"""MariaDB with its socket in its data directory, on a volume that is moved under its clients."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.moved.moving import move_under_load, run, started, stopped_copy
from tests.waiting import wait_until

CLIENTS = 3
STATEMENTS_BETWEEN = 30


class Client:
    """A program that is connected through the socket all the time."""

    def __init__(self, process: subprocess.Popen[Any]) -> None:
        self._process = process
        self.pid = process.pid

    def ask(self, statements: str) -> str:
        """The one line of the last statement. Fails the test when the program has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(statements + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the client has ended"
        return str(answer.strip())


class Server:
    """A MariaDB with everything on the volume."""

    def __init__(self, program: str, folder: Path) -> None:
        self.address = folder / "mysql.sock"
        self.log = folder / "error.log"
        self.command = [
            *(program, "--no-defaults", "--user=root", f"--datadir={folder}", "--skip-networking"),
            *(f"--socket={self.address}", f"--log-error={self.log}", "--innodb-log-file-size=8M"),
            *("--innodb-buffer-pool-size=16M", f"--pid-file={folder / 'pid'}"),
        ]
        self.client = [
            *("mariadb", "--no-defaults", "--user=root", f"--socket={self.address}"),
            *("--batch", "--skip-column-names", "--unbuffered", "--skip-reconnect"),
        ]

    def answers(self) -> bool:
        """Whether somebody can connect."""
        words = [*self.client, "--execute=select 1"]
        return subprocess.run(words, check=False, capture_output=True).returncode == 0

    def connect(self, stack: ExitStack) -> Client:
        """A client, as soon as the server answers."""
        wait_until(self.answers)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": "/"}
        return Client(stack.enter_context(started(self.client, **pipes)))


def test_clients_stay_connected(ram_directory: Path) -> None:
    program, install = shutil.which("mariadbd"), shutil.which("mariadb-install-db")
    if program is None or install is None:
        pytest.skip("needs mariadbd")
    counts = [0] * CLIENTS
    with stopped_copy(ram_directory) as mover, ExitStack() as stack:
        folder = mover.path / "mysql"
        run(
            *(install, "--no-defaults", "--user=root", f"--datadir={folder}", "--skip-test-db"),
            *("--auth-root-authentication-method=normal", "--innodb-log-file-size=8M"),
        )
        server = Server(program, folder)
        quiet = {"cwd": "/", "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        maria = stack.enter_context(started(server.command, **quiet))
        clients = [server.connect(stack) for _ in range(CLIENTS)]
        table = "create table shop.t (client int, number int, text varchar(900)) engine=innodb;"
        clients[0].ask(f"create database shop; {table} select 1;")
        sessions = [
            client.ask("set @mine := 'mine'; select connection_id();") for client in clients
        ]

        def load(done: Callable[[], bool]) -> None:
            while not done():
                for number, client in enumerate(clients):
                    counts[number] += 1
                    row = f"{number}, {counts[number]}, repeat('x', 800)"
                    insert = f"begin; insert into shop.t values ({row}); commit;"
                    count = f"select count(*), @mine from shop.t where client = {number};"
                    assert client.ask(f"{insert} {count}") == f"{counts[number]}\tmine"

        def working() -> None:
            before = sum(counts)
            wait_until(lambda: sum(counts) >= before + STATEMENTS_BETWEEN)

        moves = move_under_load(mover, load, working)
        assert all("mariadbd" in moved.processes for moved in moves), moves
        assert (
            moves[0].processes.count("mariadb") == CLIENTS
        )  # whose connections move with both ends
        assert [client.ask("select connection_id();") for client in clients] == sessions
        assert clients[0].ask("check table shop.t;").endswith("OK")
        maria.terminate()
        assert maria.wait(timeout=60) == 0
        again = stack.enter_context(started(server.command, **quiet))
        reader = server.connect(stack)
        for number, count in enumerate(counts):
            query = f"select count(distinct number) from shop.t where client = {number};"
            assert reader.ask(query) == str(count)
        again.terminate()
        assert again.wait(timeout=60) == 0
        assert "[ERROR]" not in server.log.read_text()
