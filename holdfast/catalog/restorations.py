"""The catalog's part about restorations in progress and the copies they leave.

Owns the records that make a restoration survive the death of its runner. Invariant: every call is
one transaction, durable when it returns; an entry and its receipt are never both absent: `end`
writes the one and removes the other at once. Must never decide what is to be done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from sqlite3 import Connection, IntegrityError
from typing import Any

from holdfast.catalog.rows import (
    copy_of_row,
    readable,
    restoration_of_rows,
    row_of_copy,
    row_of_receipt,
    row_of_restoration,
    row_of_step,
)
from holdfast.catalog.table import Row
from holdfast.catalog.tables import COPIES, RECEIPTS, RESTORATIONS, STEPS
from holdfast.errors import CannotRecord, InUse, NotFound, UnreadableRecord
from holdfast.model.receipt import Receipt
from holdfast.model.restoration import (
    Copy,
    Restoration,
    RestorationHeading,
    RestorationStage,
    StepRecord,
)

Transaction = Callable[[], AbstractContextManager[Connection]]


class RestorationEntries:
    """Restorations in progress; reached through `Catalog.restorations`."""

    def __init__(self, reading: Transaction, writing: Transaction) -> None:
        self._reading = reading
        self._writing = writing

    def all(self) -> list[Restoration]:
        """Every one, oldest first."""
        with self._reading() as connection:
            rows = RESTORATIONS.rows(connection, "order by started")
            return [restoration_of_rows(row, _steps(connection, row["id"])) for row in rows]

    def headings(self) -> list[RestorationHeading]:
        """The headings of all restorations, oldest first, also of damaged ones."""
        with self._reading() as connection:
            return _headings(connection, "order by started")

    def heading(self, volume: str) -> RestorationHeading | None:
        """The heading of this volume's restoration, also when it is damaged."""
        with self._reading() as connection:
            return next(iter(_headings(connection, "where volume = ?", volume)), None)

    def of(self, volume: str) -> Restoration | None:
        """The one that is in progress for this volume. Raises UnreadableRecord."""
        with self._reading() as connection, _judged(volume):
            rows = RESTORATIONS.rows(connection, "where volume = ?", volume)
            return restoration_of_rows(rows[0], _steps(connection, rows[0]["id"])) if rows else None

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
            with self._writing() as connection:
                RESTORATIONS.insert(connection, row)
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
        changes: Row = {}
        if stage is not None:
            changes["stage"] = str(stage)
        if record is not None:
            changes["facts"] = dict(record)
        if deadline_ns is not None:
            changes["deadline_ns"] = deadline_ns
        with self._writing() as connection:
            volume = _existing(connection, identifier, "volume")
            with _readable(volume):
                readable(record)
            RESTORATIONS.change(connection, changes, identifier)

    def record(self, identifier: str, step: StepRecord) -> None:
        """Write what became of a step, over what was recorded of it before."""
        with self._writing() as connection:
            names = _existing(connection, identifier, "step_names")
            STEPS.put(connection, row_of_step(identifier, step, names.index(str(step.name))))

    def end(self, identifier: str, receipt: Receipt | None) -> None:
        """Forget it and, in the same transaction, keep its receipt. Idempotent."""
        with self._writing() as connection:
            if receipt is not None:
                RECEIPTS.insert(connection, row_of_receipt(receipt), "on conflict do nothing")
            STEPS.remove(connection, identifier)
            RESTORATIONS.remove(connection, identifier)

    def copies(self, volume: str | None = None) -> list[Copy]:
        """Copies of one volume, or of all, newest first."""
        where, values = ("", ()) if volume is None else ("where volume = ?", (volume,))
        with self._reading() as connection:
            rows = COPIES.rows(connection, f"{where} order by made desc, id", *values)
            return [copy_of_row(row) for row in rows]

    def add_copy(self, copy: Copy) -> None:
        """Remember a copy. Idempotent by its id."""
        with self._writing() as connection:
            COPIES.put(connection, row_of_copy(copy))


def _headings(connection: Connection, rest: str, *values: object) -> list[RestorationHeading]:
    columns = "id, volume, strategy, boot_id"
    rows = RESTORATIONS.rows(connection, rest, *values, columns=columns)
    return [RestorationHeading(*map(str, row.values())) for row in rows]


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


def _steps(connection: Connection, identifier: str) -> list[Row]:
    return STEPS.rows(connection, "where restoration = ? order by number", identifier)


def _existing(connection: Connection, identifier: str, column: str) -> Any:
    """One column of it."""
    rows = RESTORATIONS.rows(connection, "where id = ?", identifier, columns=column)
    if not rows:
        raise NotFound(f"there is no restoration {identifier}", "It has ended: see its receipt.")
    return rows[0][column]
