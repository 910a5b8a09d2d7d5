"""A bank on SQLite: transfers between accounts, each a durable transaction (WAL, FULL).

The invariant is the one of every textbook: money is neither made nor lost. Beside it every
acknowledged transfer must be there, and the balances must be what the transfers say.
"""

from __future__ import annotations

import os
import random
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from holdfast.demo.applications.runner import main

FILE_NAME = "bank.sqlite"
ACCOUNTS = 100
OPENING_BALANCE = 1000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS transfer (
    serial INTEGER PRIMARY KEY,       -- numbered from 1 without a gap
    source INTEGER NOT NULL,
    target INTEGER NOT NULL,
    amount INTEGER NOT NULL
);
"""


class Bank:
    """Transfers in the database FILE_NAME in `directory`, which is made when absent."""

    def __init__(self, directory: Path) -> None:
        self._database = sqlite3.connect(directory / FILE_NAME, isolation_level=None, timeout=60)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        self._database.executescript(_SCHEMA)
        accounts = [(number, OPENING_BALANCE) for number in range(1, ACCOUNTS + 1)]
        self._database.execute("BEGIN IMMEDIATE")
        self._database.executemany("INSERT OR IGNORE INTO account VALUES (?, ?)", accounts)
        self._database.execute("COMMIT")
        self._serial = self._last_serial()
        self._chance = random.Random()

    def operate(self) -> int:
        """One transfer, committed. Raises sqlite3.Error."""
        database = self._database
        source, target = self._chance.sample(range(1, ACCOUNTS + 1), 2)
        amount = self._chance.randint(1, 50)
        try:
            database.execute("BEGIN IMMEDIATE")
            serial = (self._serial or self._last_serial()) + 1
            pay = "UPDATE account SET balance = balance + ? WHERE id = ?"
            database.execute(pay, (-amount, source))
            database.execute(pay, (amount, target))
            values = (serial, source, target, amount)
            database.execute("INSERT INTO transfer VALUES (?, ?, ?, ?)", values)
            database.execute("COMMIT")
        except sqlite3.Error:
            # Whether the commit became durable is unknown now: ask the database next time.
            self._serial = 0
            with suppress(sqlite3.Error):
                database.execute("ROLLBACK")
            raise
        self._serial = serial
        return serial

    def close(self) -> None:
        """Close the database (checkpoints the write-ahead log)."""
        self._database.close()

    def _last_serial(self) -> int:
        row = self._database.execute("SELECT coalesce(max(serial), 0) FROM transfer").fetchone()
        return int(row[0])


def verify(directory: Path, acknowledged: int) -> list[str]:
    """Every breach: damaged database, money made or lost, a lost or a partial transfer."""
    for suffix in ("", "-wal"):
        with suppress(OSError), open(f"{directory / FILE_NAME}{suffix}", "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if not (directory / FILE_NAME).exists():
        return [f"{FILE_NAME} is lost"]
    try:
        with closing(sqlite3.connect(directory / FILE_NAME)) as database:
            return _faults(database, acknowledged)
    except sqlite3.Error as error:
        return [f"{FILE_NAME} cannot be read: {error}"]


def _faults(database: sqlite3.Connection, acknowledged: int) -> list[str]:
    faults = []
    answers = [row[0] for row in database.execute("PRAGMA integrity_check")]
    if answers != ["ok"]:
        faults += [f"integrity check: {answer}" for answer in answers]
    balances = dict(database.execute("SELECT id, balance FROM account"))
    if sum(balances.values()) != ACCOUNTS * OPENING_BALANCE:
        faults.append(
            f"the sum is {sum(balances.values())} instead of {ACCOUNTS * OPENING_BALANCE}"
        )
    expected = dict.fromkeys(range(1, ACCOUNTS + 1), OPENING_BALANCE)
    last = 0
    for serial, source, target, amount in database.execute("SELECT * FROM transfer ORDER BY 1"):
        if serial != last + 1:
            faults.append(f"transfers {last + 1} to {serial - 1} are lost")
        last = serial
        expected[source] -= amount
        expected[target] += amount
    if last < acknowledged:
        faults.append(f"transfers {last + 1} to {acknowledged} are lost")
    if balances != expected:
        faults.append("the balances are not what the transfers say")
    return faults


if __name__ == "__main__":
    main("bank", Bank, verify)
