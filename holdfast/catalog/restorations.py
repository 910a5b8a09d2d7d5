"""The catalog's part about restorations in progress and the copies they leave.

Owns the records that make a restoration survive the death of its runner. Invariant: every call is
one transaction, durable when it returns; an entry and its receipt are never both absent: `end`
writes the one and removes the other at once. Must never decide what is to be done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from holdfast.catalog.rows import (
    copy_of_row,
    readable,
    restoration_of_rows,
    row_of_copy,
    row_of_receipt,
    row_of_restoration,
    row_of_step,
)
from holdfast.catalog.tables import CopyRow, ReceiptRow, RestorationRow, RestorationStepRow
from holdfast.errors import CannotRecord, InUse, NotFound, UnreadableRecord
from holdfast.model.receipt import Receipt
from holdfast.model.restoration import (
    Copy,
    Restoration,
    RestorationHeading,
    RestorationStage,
    StepRecord,
)

Transaction = Callable[[], AbstractContextManager[Session]]


class RestorationEntries:
    """Restorations in progress; reached through `Catalog.restorations`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def all(self) -> list[Restoration]:
        """Every one, oldest first."""
        with self._transaction() as session:
            rows = session.scalars(select(RestorationRow).order_by(RestorationRow.started)).all()
            return [restoration_of_rows(row, _steps(session, row.id)) for row in rows]

    def headings(self) -> list[RestorationHeading]:
        """The headings of all restorations, oldest first, also of damaged ones."""
        with self._transaction() as session:
            rows = session.execute(_HEADINGS.order_by(RestorationRow.started)).all()
            return [RestorationHeading(*map(str, row)) for row in rows]

    def heading(self, volume: str) -> RestorationHeading | None:
        """The heading of this volume's restoration, also when it is damaged."""
        with self._transaction() as session:
            row = session.execute(_HEADINGS.where(RestorationRow.volume == volume)).one_or_none()
            return None if row is None else RestorationHeading(*map(str, row))

    def of(self, volume: str) -> Restoration | None:
        """The one that is in progress for this volume. Raises UnreadableRecord."""
        query = select(RestorationRow).where(RestorationRow.volume == volume)
        with self._transaction() as session, _judged(volume):
            row = session.scalars(query).one_or_none()
            return None if row is None else restoration_of_rows(row, _steps(session, row.id))

    def begin(self, restoration: Restoration) -> None:
        """Enter a new one.

        Raises InUse while there is another for the same volume, CannotRecord when it could not be
        read again.
        """
        row = row_of_restoration(restoration)
        with _readable(restoration.volume):
            readable(restoration.record)
            restoration_of_rows(row, [])
        try:
            with self._transaction() as session:
                session.add(row)
        except IntegrityError as error:
            raise InUse(
                f"a restoration of {restoration.volume} has begun and not ended",
                "holdfast recover finishes or undoes it; or wait, when it is at work.",
            ) from error

    def note(
        self,
        identifier: str,
        stage: RestorationStage | None = None,
        record: Mapping[str, Any] | None = None,
        deadline_ns: int | None = None,
    ) -> None:
        """Replace what is known of it; None: that stays. Raises CannotRecord, and all stays."""
        with self._transaction() as session:
            row = _existing(session, identifier)
            with _readable(row.volume):
                readable(record)
            if stage is not None:
                row.stage = str(stage)
            if record is not None:
                row.facts = dict(record)
            if deadline_ns is not None:
                row.deadline_ns = deadline_ns

    def record(self, identifier: str, step: StepRecord) -> None:
        """Write what became of a step, over what was recorded of it before."""
        with self._transaction() as session:
            names = _existing(session, identifier).step_names
            session.merge(row_of_step(identifier, step, names.index(str(step.name))))

    def end(self, identifier: str, receipt: Receipt | None) -> None:
        """Forget it and, in the same transaction, keep its receipt. Idempotent."""
        with self._transaction() as session:
            if receipt is not None:
                row = row_of_receipt(receipt)
                columns = ReceiptRow.__table__.columns
                values = {column.name: getattr(row, column.name) for column in columns}
                session.execute(insert(ReceiptRow).values(values).on_conflict_do_nothing())
            session.execute(
                delete(RestorationStepRow).where(RestorationStepRow.restoration == identifier)
            )
            session.execute(delete(RestorationRow).where(RestorationRow.id == identifier))

    def copies(self, volume: str | None = None) -> list[Copy]:
        """Copies of one volume, or of all, newest first."""
        query = select(CopyRow).order_by(CopyRow.made.desc(), CopyRow.id)
        if volume is not None:
            query = query.where(CopyRow.volume == volume)
        with self._transaction() as session:
            return [copy_of_row(row) for row in session.scalars(query)]

    def add_copy(self, copy: Copy) -> None:
        """Remember a copy. Idempotent by its id."""
        with self._transaction() as session:
            session.merge(row_of_copy(copy))


_HEADINGS = select(
    RestorationRow.id, RestorationRow.volume, RestorationRow.strategy, RestorationRow.boot_id
)


@contextmanager
def _readable(volume: str) -> Iterator[None]:
    """Say of which volume it is what could not be read again."""
    try:
        yield
    except ValueError as error:
        raise CannotRecord(
            f"the restoration of {volume} could not be read from the catalog again: {error}",
            "See holdfast assess: who has more mounts, or longer names, than can be written down.",
        ) from error


@contextmanager
def _judged(volume: str) -> Iterator[None]:
    """Say of which volume an entry is that makes no sense."""
    try:
        yield
    except (RecursionError, TypeError, ValueError) as error:
        raise UnreadableRecord(
            f"the entry of the restoration of {volume} is damaged: {error}",
            f"Give it up, which says what it leaves: holdfast recover --abandon {volume}",
        ) from error


def _steps(session: Session, identifier: str) -> list[RestorationStepRow]:
    query = select(RestorationStepRow).where(RestorationStepRow.restoration == identifier)
    return list(session.scalars(query.order_by(RestorationStepRow.number)))


def _existing(session: Session, identifier: str) -> RestorationRow:
    row = session.get(RestorationRow, identifier)
    if row is None:
        raise NotFound(f"there is no restoration {identifier}", "It has ended: see its receipt.")
    return row
