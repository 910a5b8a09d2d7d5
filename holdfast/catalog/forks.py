"""SQLite and fork(2): connections belong to the process that opened them.

A forked child has its parent's connections, and SQLite's memory of their locks, but not the locks
themselves (sqlite.org/howtocorrupt.html, 2.6). What it commits, also through a connection of its
own, is lost when the parent closes the catalog. Owns the knowledge of who opened what.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from weakref import ref

from sqlalchemy import Engine, event

from holdfast.errors import InUse

_opened: dict[ref[Any], tuple[Path, int]] = {}
"""File and process of each open connection, by its entry in the pool; a child has its parent's."""


def watch(engine: Engine, path: Path) -> None:
    """Take note of every connection that this engine opens and closes."""

    def opened(connection: object, entry: Any) -> None:
        _opened[ref(entry, _forget)] = (path, os.getpid())

    def closed(connection: object, entry: Any) -> None:
        _forget(ref(entry))

    event.listen(engine, "connect", opened)
    event.listen(engine, "close", closed)


def _forget(entry: ref[Any]) -> None:
    _opened.pop(entry, None)


def is_inherited(path: Path) -> bool:
    """Whether the catalog was open when this process was forked."""
    own = os.getpid()
    return any(each == path and pid != own for each, pid in tuple(_opened.values()))


def refuse_inherited(path: Path) -> None:
    """Raises InUse where what is committed could be lost."""
    if is_inherited(path):
        raise InUse(
            f"the catalog {path} was open when this process was forked from another",
            "Close it (Holdfast.close) before the fork, or start a new program.",
        )
