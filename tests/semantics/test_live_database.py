"""Claim: older contents do not get under a database at work, except by force."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.errors import Blocked
from holdfast.service import Holdfast, MigrateRequest, RestoreRequest
from tests.kernel.rebind.bench import Bench, Program
from tests.kernel.rebind.conftest import Hold
from tests.kernel.rebind.traces import Traces

DATABASE = """
import sqlite3, sys
database = sqlite3.connect("bank.db", isolation_level=None)
database.execute("PRAGMA journal_mode=WAL")
database.execute("CREATE TABLE entry (number INTEGER)")
print("ready", flush=True)
for line in sys.stdin:
    database.execute("INSERT INTO entry VALUES (1)")
    print(database.execute("SELECT count(*) FROM entry").fetchone()[0], flush=True)
"""


@pytest.fixture
def database(adopted: Holdfast, bench: Bench, start: Hold) -> Iterator[Program]:
    """SQLite in WAL mode at work on the volume."""
    yield start(sys.executable, "-c", DATABASE, cwd=bench.path)


@pytest.fixture
def backup(bench: Bench) -> Path:
    folder = bench.folder / "backup"
    folder.mkdir()
    (folder / "other").write_text("older contents")
    return folder


def test_it_is_refused(adopted: Holdfast, database: Program, backup: Path) -> None:
    assert database.ask() == "1"
    before = Traces.of(database.pid)
    with pytest.raises(Blocked, match="SQLite"):
        adopted.restorations.restore(RestoreRequest("data", str(backup)))
    assert Traces.of(database.pid) == before
    assert database.ask() == "2"


def test_a_migration_is_not(adopted: Holdfast, bench: Bench, database: Program) -> None:
    """The contents stay what they are: the database goes on."""
    assert database.ask() == "1"
    adopted.restorations.migrate(
        MigrateRequest("data", (f"file:{bench.folder}/new.img",), filesystem="xfs")
    )
    assert database.ask() == "2"


def test_force_does_it_and_says_so(adopted: Holdfast, database: Program, backup: Path) -> None:
    receipt = adopted.restorations.restore(RestoreRequest("data", str(backup), forced=True))
    assert receipt is not None
    assert any("SQLite" in each["subject"] for each in receipt.details["findings"])
