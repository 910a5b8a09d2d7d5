"""MariaDB with its data and its socket on a volume that is migrated: no statement fails."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.scenarios.moved.moving import (
    SHORT_WITH_COMMANDS,
    migration,
    move_under_load,
    run,
    started,
)
from tests.scenarios.moved.programs import as_user, free_port, needed
from tests.scenarios.moved.side_by_side import SideBySide
from tests.waiting import wait_until

USER = "mysql"
_SOCKETS = 2
CLIENTS = 1 + _SOCKETS
TRANSACTIONS_BETWEEN = 20
_TABLES = """
create database shop;
create table shop.account (name int primary key, balance int) engine=InnoDB;
create table shop.entry (client int, number int, text varchar(500), key (client, number))
  engine=InnoDB;
create table shop.page (client int, number int) engine=Aria;
use shop;
insert into account select seq, 1000 from seq_0_to_2;
"""
_TRANSACTION = """
begin;
update account set balance = balance - 1 where name = {first};
update account set balance = balance + 1 where name = {second};
insert into entry values ({client}, {number}, repeat('x', 400));
commit;
insert into page values ({client}, {number});
select count(*), (select sum(balance) from account) from entry where client = {client};
"""


class Database:
    """A server whose folder, with its socket, lies on the volume."""

    def __init__(self, programs: list[str], folder: Path, outside: Path) -> None:
        self._server, self._install, self._client, self._check, self._admin = programs
        self.folder = folder
        self.socket = folder / "server.sock"
        self.log = outside / "mariadb.log"
        self.port = free_port()

    def create(self) -> None:
        """The system tables, and two of ours."""
        self.folder.mkdir(mode=0o750)
        self.log.touch()
        run("chown", USER, self.folder, self.log)
        run(
            *(self._install, "--no-defaults", f"--datadir={self.folder}", f"--user={USER}"),
            *("--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"),
            "--innodb-log-file-size=8M",
        )

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[Any]]:
        """A server that answers; one that ends well at the end."""
        command = [
            *(*as_user(USER), self._server, "--no-defaults", f"--datadir={self.folder}"),
            *(f"--socket={self.socket}", f"--port={self.port}", "--bind-address=127.0.0.1"),
            *(f"--log-error={self.log}", "--log-bin=binlog", "--sync-binlog=1"),
            *("--innodb-log-file-size=8M", "--innodb-buffer-pool-size=16M"),
            *("--innodb-flush-log-at-trx-commit=1", "--innodb-flush-method=O_DIRECT"),
        ]
        with started(command, cwd="/") as server:
            wait_until(lambda: self._answers() or server.poll() is not None)
            assert server.poll() is None, self.log.read_text()[-3000:]
            yield server
            server.terminate()
            assert server.wait(timeout=60) == 0, self.log.read_text()[-3000:]

    def _answers(self) -> bool:
        asked = [self._admin, *self.through_socket, "ping"]
        return subprocess.run(asked, check=False, capture_output=True).returncode == 0

    @property
    def through_socket(self) -> list[str]:
        """Options of a client that connects through the socket in the server's folder."""
        return ["--no-defaults", "--user=root", f"--socket={self.socket}"]

    @property
    def through_port(self) -> list[str]:
        """Options of a client that connects through TCP."""
        port = f"--port={self.port}"
        return ["--no-defaults", "--user=root", "--host=127.0.0.1", "--protocol=tcp", port]

    def ask(self, statement: str) -> str:
        """What a new client on the socket is answered."""
        options = ["--batch", "--skip-column-names", "-e", statement]
        return run(self._client, *self.through_socket, *options)

    def client(self, options: list[str]) -> list[str]:
        """A client that does what it reads and answers at once."""
        words = ["--batch", "--unbuffered", "--skip-column-names", "--skip-reconnect", "shop"]
        return [self._client, *options, *words]

    def check(self) -> str:
        """What mariadb-check says of all tables."""
        return run(self._check, *self.through_socket, "--all-databases", "--extended")


class Clients(SideBySide):
    """Transactions on connections that stay open; each is counted and its answer compared."""

    def __init__(self, database: Database, ways: list[list[str]]) -> None:
        super().__init__(len(ways))
        self._database = database
        self._ways = ways

    def work(self, client: int, done: Callable[[], bool]) -> None:
        command = self._database.client(self._ways[client])
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        with started(command, cwd="/", text=True, **pipes) as shell:
            assert shell.stdin is not None
            assert shell.stdout is not None
            # In one order, for everybody: otherwise two wait for each other, and one is refused.
            first, second = sorted((client, (client + 1) % len(self._ways)))
            while not done():
                number = self.counts[client]
                text = _TRANSACTION.format(client=client, first=first, second=second, number=number)
                shell.stdin.write(text)
                shell.stdin.flush()
                expected = f"{number + 1}\t{1000 * len(self._ways)}\n"
                answer = shell.stdout.readline()
                if answer != expected:
                    raise AssertionError(f"not {expected!r}: {answer}{_rest(shell)}")
                self.counts[client] += 1
            assert _rest(shell) == ""
            assert shell.returncode == 0


def _rest(shell: subprocess.Popen[str]) -> str:
    """What a client says until its end, for which it is asked."""
    return shell.communicate("quit\n", timeout=60)[0]


def test_no_statement_fails(ram_directory: Path, run_holdfast: Callable[..., Any]) -> None:
    programs = needed("mariadbd", "mariadb-install-db", "mariadb", "mariadb-check", "mariadb-admin")
    with migration(ram_directory, run_holdfast, size_bytes=768 << 20) as mover:
        database = Database(programs, mover.path / "mysql", ram_directory)
        database.create()
        with database.running():
            database.ask(_TABLES)
            clients = Clients(
                database, [database.through_port, *_SOCKETS * [database.through_socket]]
            )

            def working() -> None:
                clients.get_on(TRANSACTIONS_BETWEEN)
                assert database.ask("select 1") == "1"

            moves = move_under_load(mover, clients.load, working, SHORT_WITH_COMMANDS)
            assert all("mariadbd" in moved.processes for moved in moves), moves
            _verify(database, clients)
        with database.running():
            _verify(database, clients)
        assert "[ERROR]" not in database.log.read_text(), database.log.read_text()


def _verify(database: Database, clients: Clients) -> None:
    """Every transaction is there, the books balance, and the tables check clean."""
    rows = "select count(*) from shop.{table} group by client order by client"
    for table in ("entry", "page"):
        found = database.ask(rows.format(table=table)).splitlines()
        assert [int(count) for count in found] == clients.counts, table
    assert database.ask("select sum(balance) from shop.account") == str(1000 * CLIENTS)
    checked = database.check().splitlines()
    assert all(line.endswith("OK") for line in checked if line.strip()), checked
