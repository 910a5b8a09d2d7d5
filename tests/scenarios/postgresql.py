"""A PostgreSQL cluster whose data lies on a volume, and pgbench against it: `Cluster`.

It runs as the user postgres with fsync on; its socket and its log lie outside of the volume.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.leftovers import RUN_VARIABLE

USER = "postgres"
SCALE = 4
CLIENTS = 4
PORT = 54377
COMMAND_TIMEOUT_SECONDS = 120.0
_SETTINGS = """
listen_addresses = ''
unix_socket_directories = '{outside}'
port = {port}
fsync = on
full_page_writes = on
wal_recycle = on
max_wal_size = 64MB
checkpoint_timeout = 30s
restart_after_crash = off
"""


@dataclass(frozen=True)
class Load:
    """What pgbench counted."""

    transactions: int
    failed: int


def programs() -> Path:
    """Where PostgreSQL's programs lie; skips the test where it is not installed."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = shutil.which("initdb")
    if versions:
        return versions[-1].parent
    if found:
        return Path(found).resolve().parent
    pytest.skip("needs PostgreSQL")


class Cluster:
    """A cluster in `directory`, made when absent. A context manager: it runs inside the block."""

    def __init__(self, directory: Path, outside: Path) -> None:
        self.directory = directory
        self.outside = outside
        self.programs = programs()

    def __enter__(self) -> Self:
        if not self.directory.exists():
            self._create()
        self._control("start")
        if not self.psql("select 1 from pg_class where relname = 'pgbench_accounts'"):
            self._run(*self._client("pgbench"), "--initialize", "--quiet", f"--scale={SCALE}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(subprocess.CalledProcessError):
            self._control("stop", "--mode=immediate" if kind else "--mode=fast")

    def _create(self) -> None:
        self.outside.mkdir(exist_ok=True)
        for parent in self.directory.parents:
            if parent.name.startswith("hf-"):
                parent.chmod(0o711)  # the folder of this test run is closed to other users
        self.directory.mkdir(mode=0o700)
        subprocess.run(["chown", USER, self.directory, self.outside], check=True)
        self._run(self.programs / "initdb", "--auth=trust", f"--pgdata={self.directory}")
        with (self.directory / "postgresql.conf").open("a") as file:
            file.write(_SETTINGS.format(outside=self.outside, port=PORT))

    def _control(self, verb: str, *options: str) -> None:
        log = f"--log={self.log_path}"
        self._run(
            *(self.programs / "pg_ctl", f"--pgdata={self.directory}", "--wait", "--silent", log),
            *options,
            verb,
        )

    @property
    def log_path(self) -> Path:
        """The server's log."""
        return self.outside / "server.log"

    def load(self, until: Callable[[], bool], seconds: int = 2, rate: int | None = None) -> Load:
        """Run pgbench again and again until it is time; the sum. Fails the test on any error.

        `rate`: transactions per second; None: as many as it can.
        """
        pace = [] if rate is None else [f"--rate={rate}"]
        transactions = failed = 0
        while True:
            done = until()
            output = self._run(
                *self._client("pgbench"),
                *(f"--client={CLIENTS}", "--jobs=2", f"--time={seconds}", "--no-vacuum"),
                *pace,
            )
            transactions += _number(r"number of transactions actually processed: (\d+)", output)
            failed += _number(r"number of failed transactions: (\d+)", output)
            if done:
                return Load(transactions, failed)

    def psql(self, statement: str) -> str:
        """The answer to a statement."""
        client = self._client("psql")
        return self._run(*client, "--no-psqlrc", "-qtAc", statement).strip()

    def check(self, load: Load) -> None:
        """Nothing is lost or damaged: books balance, every transaction is there, amcheck is clean.

        Call it after the only load since the cluster was made.
        """
        assert load.failed == 0
        sums = [
            self.psql(f"select sum({letter}balance) from pgbench_{table}")
            for letter, table in (("a", "accounts"), ("t", "tellers"), ("b", "branches"))
        ]
        sums.append(self.psql("select coalesce(sum(delta), 0) from pgbench_history"))
        assert len(set(sums)) == 1, f"the books do not balance: {sums}"
        assert int(self.psql("select count(*) from pgbench_history")) == load.transactions
        verifier = self.programs / "pg_amcheck"
        if verifier.exists() and not self._lacks_amcheck():
            self._run(*self._client(verifier), "--heapallindexed", "--progress")
        log = self.log_path.read_text()
        assert "PANIC" not in log, log
        assert "could not" not in log, log

    def _lacks_amcheck(self) -> bool:
        try:
            self.psql("create extension if not exists amcheck")
        except subprocess.CalledProcessError:
            return True
        return False

    def _client(self, program: str | Path) -> list[str | Path]:
        path = self.programs / program
        return [path, f"--host={self.outside}", f"--port={PORT}"]

    def _run(self, *command: str | Path) -> str:
        words = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *command]
        result = subprocess.run(
            words,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd="/",
            timeout=COMMAND_TIMEOUT_SECONDS,
            env={"PGDATABASE": "postgres", "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
            | _run_mark(),
        )
        if result.returncode:
            log = self.log_path.read_text()[-3000:] if self.log_path.exists() else ""
            message = f"{result.stdout}\n{result.stderr}\n{log}"
            print(message)
            raise subprocess.CalledProcessError(result.returncode, words, message)
        return result.stdout


def _run_mark() -> dict[str, str]:
    """The variable by which the test run finds its own processes."""
    return {RUN_VARIABLE: os.environ.get(RUN_VARIABLE, "")}


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    assert found is not None, text
    return int(found[1])
