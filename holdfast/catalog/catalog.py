"""The one object through which everything else asks and changes the catalog.

Owns the connection and its transactions: each call is one transaction, durable when it returns
(WAL with synchronous=FULL). Must never hand out a row or a query, only model values, never hold a
transaction open between calls, and never be used by a process that was forked while it was open.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from sqlalchemy import create_engine, event, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from holdfast.catalog.any_text import decoded
from holdfast.catalog.forks import is_inherited, refuse_inherited, watch
from holdfast.catalog.ingest import Ingested, read_spool
from holdfast.catalog.restorations import RestorationEntries
from holdfast.catalog.rows import receipt_of_row, row_of_receipt, row_of_volume, volume_of_row
from holdfast.catalog.schema import BUSY_TIMEOUT_SECONDS, prepare
from holdfast.catalog.tables import ReceiptRow, VolumeRow
from holdfast.errors import (
    AlreadyExists,
    NoSuchReceipt,
    NoSuchVolume,
    StateFailed,
    StorageFailed,
)
from holdfast.model.bounded import read_json
from holdfast.model.moment import ALWAYS, Timespan
from holdfast.model.receipt import Receipt
from holdfast.model.volume import Volume


class Catalog:
    """The catalog file at `path`, opened (and created or migrated where needed)."""

    def __init__(self, path: Path) -> None:
        refuse_inherited(path)
        prepare(path)
        self._path = path
        self._engine = create_engine(
            f"sqlite:///{path}",
            connect_args={"timeout": BUSY_TIMEOUT_SECONDS},
            json_deserializer=read_json,
        )
        event.listen(self._engine, "connect", _configure_connection)
        watch(self._engine, path)
        self.restorations = RestorationEntries(self._transaction)
        """Restorations in progress, and copies."""

    def close(self) -> None:
        """Close the connection; another call opens one again. Idempotent.

        A forked child leaves its parent's alone.
        """
        self._engine.dispose(close=not is_inherited(self._path))

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
        with self._transaction() as session:
            return [volume_of_row(row) for row in session.scalars(_ordered_volumes())]

    def volume(self, name: str) -> Volume:
        """The volume of that name. Raises NoSuchVolume."""
        with self._transaction() as session:
            return volume_of_row(_existing(session, name))

    def add(self, volume: Volume) -> None:
        """Add a volume; durable on return.

        Raises AlreadyExists for its name or its id, CannotRecord when it could not be read again.
        """
        row = row_of_volume(volume)
        try:
            with self._transaction() as session:
                session.add(row)
        except IntegrityError as error:
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
        with self._transaction() as session:
            _existing(session, volume.name)
            session.merge(row)

    def remove(self, name: str) -> None:
        """Forget a volume; its receipts stay. Durable on return. Raises NoSuchVolume."""
        with self._transaction() as session:
            session.delete(_existing(session, name))

    def receipts(
        self, volume: str | None = None, limit: int | None = 100, begun: Timespan = ALWAYS
    ) -> list[Receipt]:
        """The newest receipts first, of one volume or of all; `limit` None for every one."""
        query = select(ReceiptRow).order_by(ReceiptRow.started.desc(), ReceiptRow.id)
        if begun is not ALWAYS:
            started = ReceiptRow.started
            query = query.where(started >= begun.since, started < begun.until)
        if volume is not None:
            query = query.where(ReceiptRow.volume == volume)
        with self._transaction() as session:
            return [receipt_of_row(row) for row in session.scalars(query.limit(limit))]

    def receipt(self, identifier: str) -> Receipt:
        """The receipt with that id, or the only one whose id begins so. Raises NoSuchReceipt."""
        with self._transaction() as session:
            exact = session.get(ReceiptRow, identifier)
            if exact is not None:
                return receipt_of_row(exact)
            begins = ReceiptRow.id.startswith(identifier, autoescape=True)
            rows = session.scalars(select(ReceiptRow).where(begins).limit(2)).all()
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
        added = 0
        with self._transaction() as session:
            for receipt in receipts:
                row = row_of_receipt(receipt)
                values = {
                    column.name: getattr(row, column.name)
                    for column in ReceiptRow.__table__.columns
                }
                statement = insert(ReceiptRow).values(values).on_conflict_do_nothing()
                added += len(session.scalars(statement.returning(ReceiptRow.id)).all())
        return added

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        refuse_inherited(self._path)
        try:
            with Session(self._engine, expire_on_commit=False) as session, session.begin():
                yield session
        except IntegrityError:
            raise
        except SQLAlchemyError as error:
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


def _configure_connection(connection: Any, record: object) -> None:
    """WAL: readers never wait for a writer. FULL: a commit survives a power cut."""
    connection.text_factory = decoded
    cursor = connection.cursor()
    cursor.execute("pragma journal_mode=wal")
    cursor.execute("pragma synchronous=full")
    cursor.close()


def _ordered_volumes() -> Any:
    return select(VolumeRow).order_by(VolumeRow.name)


def _existing(session: Session, name: str) -> VolumeRow:
    row = session.get(VolumeRow, name)
    if row is None:
        raise NoSuchVolume(
            f"there is no volume named {name!r}", "holdfast volume list shows those that exist."
        )
    return row
