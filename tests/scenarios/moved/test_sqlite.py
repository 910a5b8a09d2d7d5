"""SQLite in WAL mode under several processes while the volume is migrated: no statement fails."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from tests.scenarios.moved.moving import SHORT_WITH_COMMANDS, migration, move_in_turn, started
from tests.waiting import wait_until

PROCESSES = 4
TRANSACTIONS_BETWEEN = 20

WORKER = """
import signal, sqlite3, sys, time
going = True
def stop(*_):
    global going
    going = False
signal.signal(signal.SIGTERM, stop)
name = int(sys.argv[2])
base = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
assert base.execute("pragma journal_mode").fetchone() == ("wal",)
base.execute("pragma synchronous = full")
base.execute("pragma wal_autocheckpoint = 20")
done = 0
while going:
    base.execute("begin immediate")
    base.execute("update account set balance = balance - 1 where name = ?", (name,))
    base.execute("update account set balance = balance + 1 where name = ?", ((name + 1) % 4,))
    base.execute("insert into entry (process, number, text) values (?, ?, ?)",
                 (name, done, "x" * 500))
    base.execute("commit")
    done += 1
    rows, = base.execute("select count(*) from entry where process = ?", (name,)).fetchone()
    total, = base.execute("select sum(balance) from account").fetchone()
    if rows != done or total != 4000:
        sys.exit(f"{rows} rows of {done}, {total} in all")
    print(done, flush=True)
    time.sleep(0.01)
base.close()
"""


def test_no_statement_fails(ram_directory: Path, run_holdfast: Callable[..., Any]) -> None:
    with migration(ram_directory, run_holdfast) as mover, ExitStack() as stack:
        path = mover.path / "shop.db"
        with closing(sqlite3.connect(path)) as base:
            base.execute("pragma journal_mode = wal")
            base.execute("create table account (name integer primary key, balance integer)")
            base.execute("create table entry (process integer, number integer, text text)")
            base.execute("create index entries on entry (process, number)")
            rows = [(name, 1000) for name in range(PROCESSES)]
            base.executemany("insert into account values (?, ?)", rows)
            base.commit()
        workers, outputs = [], []
        for name in range(PROCESSES):
            output = ram_directory / f"worker-{name}"
            file = stack.enter_context(output.open("wb"))
            command = [sys.executable, "-c", WORKER, path, name]
            errors = subprocess.STDOUT
            workers.append(
                stack.enter_context(started(command, cwd="/", stdout=file, stderr=errors))
            )
            outputs.append(output)

        def counts() -> list[int]:
            return [_last_number(output) for output in outputs]

        def working() -> None:
            before = counts()
            wait_until(lambda: all(now > then for now, then in zip(counts(), before, strict=True)))
            wait_until(lambda: sum(counts()) >= sum(before) + TRANSACTIONS_BETWEEN)

        moves = move_in_turn(mover, working, SHORT_WITH_COMMANDS)
        assert all(len(moved.processes) == PROCESSES for moved in moves), moves
        for worker in workers:
            worker.terminate()
        for worker, output in zip(workers, outputs, strict=True):
            assert worker.wait(timeout=60) == 0, output.read_text()[-2000:]
        with closing(sqlite3.connect(path)) as base:
            assert base.execute("pragma integrity_check").fetchall() == [("ok",)]
            found = base.execute("select process, count(*) from entry group by process").fetchall()
            assert found == list(enumerate(counts()))
            assert base.execute("select sum(balance) from account").fetchone() == (4000,)


def _last_number(output: Path) -> int:
    lines = output.read_text().split("\n")[:-1]
    assert all(line.isdigit() for line in lines[-1:]), lines[-10:]
    return int(lines[-1]) if lines else 0
