"""Brings the catalog file into being, and to the present shape, when it is opened.

Owns the file, its modes (only its owner may read it: it names paths and processes) and its
version. Invariant: after `prepare` the file has the shape to which `changes` lead, or the one that
it had. The number of its shape lies where Alembic, which made the first catalogs, put it.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from holdfast.catalog.changes import CHANGES
from holdfast.errors import MissingRights, StateFailed, StorageFailed
from holdfast.system.files.trusted import own_directory, own_file

HEAD = max(CHANGES)
"""The number of the present shape."""

_VERSION = (
    "create table if not exists alembic_version (version_num varchar(32) not null primary key)"
)

BUSY_TIMEOUT_SECONDS = 10.0
"""Longest wait for another command's transaction. Transactions here take milliseconds."""


def prepare(path: Path) -> None:
    """Make sure the catalog exists, is private and has the present shape; durable, idempotent.

    Blocks while another process changes the same file. Raises MissingRights, StorageFailed.
    """
    try:
        _make_private(path)
        if current_revision(path) == HEAD:
            return
        with open(path.with_suffix(".lock"), "w", opener=_owner_only) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            revision = current_revision(path)
            if revision != HEAD:
                _refuse_newer(path, revision)
                _change(path, [number for number in CHANGES if number > (revision or "")])
    except PermissionError as error:
        raise MissingRights(
            f"the catalog {path} belongs to another user", "Run the command as root."
        ) from error
    except (OSError, sqlite3.Error) as error:
        raise StateFailed(
            f"the catalog {path} cannot be opened: {error}",
            "Look at that file system; volumes keep running without the catalog. When the file is "
            "beyond repair, move it away and attach each volume with --leg.",
        ) from error


def current_revision(path: Path) -> str | None:
    """The revision written in the file, or None for an empty one. Raises sqlite3.Error."""
    with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS)) as connection:
        if not connection.execute(
            "select 1 from sqlite_master where name = 'alembic_version'"
        ).fetchone():
            return None
        row = connection.execute("select version_num from alembic_version").fetchone()
        return str(row[0]) if row else None


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _make_private(path: Path) -> None:
    own_directory(path.parent)
    own_file(path)


def _refuse_newer(path: Path, revision: str | None) -> None:
    if revision is not None and revision > HEAD:
        raise StorageFailed(
            f"the catalog {path} was written by a newer Holdfast (revision {revision})",
            "Install that version again.",
        )


def _change(path: Path, numbers: Sequence[str]) -> None:
    """Make these changes, all or none."""
    with closing(
        sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)
    ) as connection:
        connection.execute("begin immediate")
        for number in numbers:
            for statement in CHANGES[number]:
                connection.execute(statement)
        connection.execute(_VERSION)
        connection.execute("delete from alembic_version")
        connection.execute("insert into alembic_version values (?)", (HEAD,))
        connection.execute("commit")
