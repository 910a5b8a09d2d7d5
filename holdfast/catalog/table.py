"""A table of the catalog, whose rows are dictionaries by the names of its columns.

Owns how a value is kept in SQLite: text in any bytes, lists and objects as JSON, yes and no as 1
and 0. Invariant: what is written is read as it was. Must never begin or end a transaction.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from sqlite3 import Connection
from typing import Any

from holdfast.catalog.any_text import decoded, encoded
from holdfast.late_dataclass import dataclass
from holdfast.model.bounded import read_json

Row = dict[str, Any]


@dataclass(frozen=True)
class SqlTable:
    """One table. Whatever is asked of it raises sqlite3.Error, ValueError or TypeError."""

    name: str
    key: tuple[str, ...]
    """The columns of its primary key."""
    objects: frozenset[str] = frozenset()
    """Columns of JSON."""
    flags: frozenset[str] = frozenset()
    """Columns of yes and no."""

    def rows(
        self, connection: Connection, rest: str = "", *values: object, columns: str = "*"
    ) -> list[Row]:
        """All rows, or those that `rest` (where …, order by …, limit …) leaves, with these values
        for its question marks."""
        query = f"select {columns} from {self.name} {rest}"
        cursor = connection.execute(query, [_kept(value) for value in values])
        names = [description[0] for description in cursor.description]
        return [
            {name: self._read(name, value) for name, value in zip(names, found, strict=True)}
            for found in cursor
        ]

    def insert(self, connection: Connection, row: Row, if_there: str = "") -> int:
        """Add a row. `if_there`: what becomes of one with the same key (on conflict …); without it
        IntegrityError is raised. How many were added or changed."""
        names, places = ", ".join(row), ", ".join("?" * len(row))
        command = f"insert into {self.name} ({names}) values ({places}) {if_there}"
        return connection.execute(command, self._write(row.items())).rowcount

    def put(self, connection: Connection, row: Row) -> None:
        """Add a row, or replace what the one with the same key has."""
        changes = ", ".join(f"{name} = excluded.{name}" for name in row if name not in self.key)
        self.insert(connection, row, f"on conflict ({', '.join(self.key)}) do update set {changes}")

    def change(self, connection: Connection, changes: Row, key: str) -> None:
        """Replace some columns of the row with this key, of one column."""
        if changes:
            names = ", ".join(f"{name} = ?" for name in changes)
            command = f"update {self.name} set {names} where {self.key[0]} = ?"
            connection.execute(command, [*self._write(changes.items()), _kept(key)])

    def remove(self, connection: Connection, key: str) -> None:
        """Remove the rows whose key begins with this."""
        command = f"delete from {self.name} where {self.key[0]} = ?"
        connection.execute(command, [_kept(key)])

    def _write(self, cells: Iterable[tuple[str, object]]) -> Sequence[object]:
        return [
            json.dumps(value) if name in self.objects else _kept(value) for name, value in cells
        ]

    def _read(self, name: str, value: Any) -> Any:
        if name in self.objects:
            return None if value is None else read_json(value)
        if isinstance(value, bytes):
            return decoded(value)
        return bool(value) if name in self.flags and isinstance(value, int) else value


def _kept(value: object) -> object:
    return encoded(value) if isinstance(value, str) else value
