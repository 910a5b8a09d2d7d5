"""The one object through which everything else asks and changes the catalog.

Owns the connection and its transactions: each call is one transaction, durable when it returns
(WAL with synchronous=FULL). Must never hand out a row or a query, only model values, never hold a
transaction open between calls, and never be used by a process that was forked while it was open.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from holdfast.catalog.any_text import decoded
from holdfast.catalog.forks import Watched, close, refuse_inherited, watch
from holdfast.catalog.ingest import Ingested, read_spool
from holdfast.catalog.policies import PolicyEntries
from holdfast.catalog.restorations import RestorationEntries
from holdfast.catalog.rows import receipt_of_row, row_of_receipt, row_of_volume, volume_of_row
from holdfast.catalog.schema import BUSY_TIMEOUT_SECONDS, prepare
from holdfast.catalog.table import Row
from holdfast.catalog.tables import POLICIES, RECEIPTS, VOLUMES
from holdfast.errors import (
    AlreadyExists,
    NoSuchReceipt,
    NoSuchVolume,
    StateFailed,
    StorageFailed,
)
from holdfast.model.moment import ALWAYS, Timespan
from holdfast.model.receipt import Receipt
from holdfast.model.volume import Volume


class Catalog:
    """The catalog file at `path`, opened (and created or migrated where needed)."""

    def __init__(self, path: Path) -> None:
        refuse_inherited(path)
        prepare(path)
        self._path = path
        self._connection: Watched | None = None
        self._one_at_a_time = threading.RLock()
        self.restorations = RestorationEntries(self._reading, self._writing)
        """Restorations in progress, and copies."""
        self.policies = PolicyEntries(self._reading, self._writing)
        """What may happen unattended."""

    def close(self) -> None:
        """Close the connection; another call opens one again. Idempotent.

        A forked child leaves its parent's alone.
        """
        connection, self._connection = self._connection, None
        if connection is not None:
            close(connection, self._path)

    def __enter__(self) -> Catalog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def volumes(self) -> list[Volume]:
        """Every volume, by name."""
        with self._reading() as connection:
            return [volume_of_row(row) for row in VOLUMES.rows(connection, "order by name")]

    def volume(self, name: str) -> Volume:
        """The volume of that name. Raises NoSuchVolume."""
        with self._reading() as connection:
            return volume_of_row(_existing(connection, name))

    def add(self, volume: Volume) -> None:
        """Add a volume; durable on return.

        Raises AlreadyExists for its name or its id, CannotRecord when it could not be read again.
        """
        row = row_of_volume(volume)
        try:
            with self._writing() as connection:
                VOLUMES.insert(connection, row)
        except sqlite3.IntegrityError as error:
            raise AlreadyExists(
                f"there is a volume named {volume.name!r} already"
                if any(known.name == volume.name for known in self.volumes())
                else f"the volume with the id {volume.id} is here already under another name",
                "holdfast volume list shows those that exist.",
            ) from error

    def update(self, volume: Volume) -> None:
        """Replace the entry of that name; durable on return.

        Raises NoSuchVolume; CannotRecord when it could not be read again, and the entry stays.
        """
        row = row_of_volume(volume)
        with self._writing() as connection:
            _existing(connection, volume.name)
            VOLUMES.change(connection, row, volume.name)

    def remove(self, name: str) -> None:
        """Forget a volume and its policy; its receipts stay. Durable on return. Raises
        NoSuchVolume."""
        with self._writing() as connection:
            _existing(connection, name)
            POLICIES.remove(connection, name)
            VOLUMES.remove(connection, name)

    def receipts(
        self,
        volume: str | None = None,
        limit: int | None = 100,
        begun: Timespan = ALWAYS,
        strategy: str | None = None,
    ) -> list[Receipt]:
        """The newest receipts first, of one volume or of all, of one strategy or of any; `limit`
        None for every one."""
        conditions, values = list[str](), list[object]()
        if begun is not ALWAYS:
            conditions += ["started >= ?", "started < ?"]
            values += [begun.since, begun.until]
        if volume is not None:
            conditions.append("volume = ?")
            values.append(volume)
        if strategy is not None:
            conditions.append("strategy = ?")
            values.append(strategy)
        where = f"where {' and '.join(conditions)}" if conditions else ""
        rest = f"{where} order by started desc, id limit ?"
        values.append(-1 if limit is None else limit)
        with self._reading() as connection:
            return [receipt_of_row(row) for row in RECEIPTS.rows(connection, rest, *values)]

    def receipt(self, identifier: str) -> Receipt:
        """The receipt with that id, or the only one whose id begins so. Raises NoSuchReceipt."""
        with self._reading() as connection:
            rows = RECEIPTS.rows(connection, "where id = ?", identifier)
            if not rows:
                begins = "where substr(id, 1, length(?)) = ? limit 2"
                rows = RECEIPTS.rows(connection, begins, identifier, identifier)
            if len(rows) != 1:
                matter = "no receipt's id begins" if not rows else "several receipts' ids begin"
                raise NoSuchReceipt(
                    f"{matter} with {identifier!r}", "holdfast receipt list shows the ids."
                )
            return receipt_of_row(rows[0])

    def ingest(self, spool_directory: Path) -> Ingested:
        """Take in the receipts that a gate left in its spool, then delete the files.

        Idempotent: killed anywhere, the next call finishes; no receipt is lost or doubled. A file
        that is torn or garbled is moved aside with the suffix .bad and named in the result.
        """
        try:
            readable, unreadable = read_spool(spool_directory)
            added = self._add_receipts([receipt for _, receipt in readable])
            for path, _ in readable:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise StateFailed(
                f"the receipts in {spool_directory} cannot be read: {error}",
                "Look at the file system that holds Holdfast's state.",
            ) from error
        return Ingested(added, unreadable)

    def _add_receipts(self, receipts: list[Receipt]) -> int:
        if not receipts:
            return 0
        with self._writing() as connection:
            return sum(
                RECEIPTS.insert(connection, row_of_receipt(receipt), "on conflict do nothing")
                for receipt in receipts
            )

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """What is read within is of one moment, and waits for nobody who writes."""
        with self._transaction("begin") as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """All that is written within, or nothing; nobody else writes meanwhile."""
        with self._transaction("begin immediate") as connection:
            yield connection

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        refuse_inherited(self._path)
        try:
            with self._one_at_a_time:
                connection = self._connected()
                connection.execute(begin)
                try:
                    yield connection
                    connection.execute("commit")
                finally:
                    if connection.in_transaction:
                        connection.execute("rollback")
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            raise StateFailed(
                f"the catalog {self._path} failed: {error}",
                "Look at the file system that holds Holdfast's state; volumes keep running.",
            ) from error
        except (RecursionError, TypeError, ValueError) as error:  # of a column's contents
            raise StorageFailed(
                f"an entry of the catalog {self._path} is damaged: {error}",
                "Move the catalog away: running gates enter their volumes again by themselves, the"
                " others do with holdfast volume attach NAME --leg URL --mount PATH.",
            ) from error

    def _connected(self) -> Watched:
        """WAL: readers never wait for a writer. FULL: a commit survives a power cut."""
        if self._connection is None:
            connection = sqlite3.connect(
                self._path,
                timeout=BUSY_TIMEOUT_SECONDS,
                isolation_level=None,
                check_same_thread=False,
                factory=Watched,
            )
            watch(connection, self._path)
            connection.text_factory = decoded
            connection.execute("pragma journal_mode=wal")
            connection.execute("pragma synchronous=full")
            self._connection = connection
        return self._connection


def _existing(connection: sqlite3.Connection, name: str) -> Row:
    rows = VOLUMES.rows(connection, "where name = ?", name)
    if not rows:
        raise NoSuchVolume(
            f"there is no volume named {name!r}", "holdfast volume list shows those that exist."
        )
    return rows[0]
