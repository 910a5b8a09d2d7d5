"""SQLite remembers inode numbers: what a move means for it is said before anything is touched."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from holdfast.applications.users import find_users
from holdfast.model.finding import Verdict
from holdfast.mountpoints.capture import capture
from holdfast.restoration.assessing.inode_numbers import about_inode_numbers
from tests.kernel.restoration.bench import make_image, mounted


@pytest.mark.parametrize(
    ("mode", "verdict"), [("delete", Verdict.NEEDS_FORCE), ("wal", Verdict.LIMITED)]
)
def test_what_is_said_of_a_database(mode: str, verdict: Verdict, ram_directory: Path) -> None:
    """An idle connection is enough; its lock and its journal may be gone at the moment."""
    image = make_image(ram_directory / "1.img", size_bytes=32 << 20)
    with mounted(image, ram_directory / "mnt") as path:
        connection = sqlite3.connect(path / "shop.db")
        other = (path / "notes").open("w+")
        try:
            connection.execute(f"pragma journal_mode={mode}")
            connection.execute("create table one (value)")
            connection.commit()
            users = find_users(capture(str(path)), ourselves=True)
            (finding,) = about_inode_numbers(users, answers=True)
            assert finding.verdict is verdict
            assert "shop.db" in finding.found
            assert "notes" not in finding.found
        finally:
            connection.close()
            other.close()
