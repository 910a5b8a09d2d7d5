"""The names of volumes for whoever may not wait, and may not load what reads a whole catalog."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from holdfast.errors import InvalidName
from holdfast.model.volume import check_name

_BUSY_SECONDS = 0.5
"""Longest wait for another command's transaction, which takes milliseconds."""


def volume_names(path: Path) -> list[str]:
    """Names of the volumes in the catalog at `path`, in order, without any that no volume can have.

    Changes nothing; none where there is no catalog, or none that can be read.
    """
    try:
        with closing(
            sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS)
        ) as catalog:
            rows = catalog.execute("SELECT name FROM volumes ORDER BY name").fetchall()
    except sqlite3.Error:
        return []
    return [name for (name,) in rows if isinstance(name, str) and _is_name(name)]


def _is_name(name: str) -> bool:
    try:
        return check_name(name) == name
    except InvalidName:
        return False
