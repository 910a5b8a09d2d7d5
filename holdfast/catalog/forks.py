"""SQLite and fork(2): connections belong to the process that opened them.

A forked child has its parent's connections, and SQLite's memory of their locks, but not the locks
themselves (sqlite.org/howtocorrupt.html, 2.6). What it commits, also through a connection of its
own, is lost when the parent closes the catalog. Owns the knowledge of who opened what.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from weakref import ref

from holdfast.errors import InUse


class Watched(sqlite3.Connection):
    """A connection that can be kept in mind without being kept open."""


_opened: dict[ref[Watched], tuple[Path, int]] = {}
"""File and process of each open connection; a child has its parent's."""

_of_parents: list[Watched] = []
"""In a child: what it must not close."""


def watch(connection: Watched, path: Path) -> None:
    """Take note of a connection that was opened."""
    _opened[ref(connection, _forget)] = (path, os.getpid())


def close(connection: Watched, path: Path) -> None:
    """Close it, but for one that a parent opened. Raises sqlite3.Error."""
    if is_inherited(path):
        _of_parents.append(connection)
    else:
        _forget(ref(connection))
        connection.close()


def _forget(connection: ref[Watched]) -> None:
    _opened.pop(connection, None)


def is_inherited(path: Path) -> bool:
    """Whether the catalog was open when this process was forked."""
    own = os.getpid()
    while True:
        try:
            return any(each == path and pid != own for each, pid in _opened.values())
        except RuntimeError:
            continue  # one was closed meanwhile, as garbage: at any allocation


def refuse_inherited(path: Path) -> None:
    """Raises InUse where what is committed could be lost."""
    if is_inherited(path):
        raise InUse(
            f"the catalog {path} was open when this process was forked from another",
            "Close it (Holdfast.close) before the fork, or start a new program.",
        )
