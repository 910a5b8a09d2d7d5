"""Brings the catalog file into being, and to the present shape, when it is opened.

Owns the file, its modes (only its owner may read it: it names paths and processes) and its
version. Invariant: after `prepare` the file has exactly the shape of `tables.py`. Must never load
Alembic when nothing is to be migrated: every command opens the catalog.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from pathlib import Path

from holdfast.errors import MissingRights, StateFailed, StorageFailed
from holdfast.system.files.trusted import open_file, own_directory

HEAD = "0004"
"""Newest revision in migrations/versions; a test compares it with Alembic's own opinion."""

BUSY_TIMEOUT_SECONDS = 10.0
"""Longest wait for another command's transaction. Transactions here take milliseconds."""


def prepare(path: Path) -> None:
    """Make sure the catalog exists, is private and has the present shape; durable, idempotent.

    Blocks while another process migrates the same file. Raises MissingRights, StorageFailed.
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
                _migrate(path)
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
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS)
    try:
        if not connection.execute(
            "select 1 from sqlite_master where name = 'alembic_version'"
        ).fetchone():
            return None
        row = connection.execute("select version_num from alembic_version").fetchone()
        return str(row[0]) if row else None
    finally:
        connection.close()


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _make_private(path: Path) -> None:
    own_directory(path.parent)
    os.close(open_file(path, os.O_RDWR | os.O_CREAT))


def _refuse_newer(path: Path, revision: str | None) -> None:
    if revision is not None and revision > HEAD:
        raise StorageFailed(
            f"the catalog {path} was written by a newer Holdfast (revision {revision})",
            "Install that version again.",
        )


def _migrate(path: Path) -> None:
    """Run what is missing, in one transaction per revision. Loads Alembic."""
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine

    config = Config()
    config.set_main_option(
        "script_location", str(Path(__file__).parent / "migrations").replace("%", "%%")
    )
    engine = create_engine(f"sqlite:///{path}")
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, HEAD)
    finally:
        engine.dispose()
