"""SQLite, Samba and Dovecot remember inode numbers: what a move means is said before it begins."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from holdfast.applications.users import find_users
from holdfast.model.finding import Verdict
from holdfast.mountpoints.capture import capture
from holdfast.restoration.assessing.inode_numbers import about_inode_numbers
from tests.kernel.rebind.bench import Program
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
            (in_place,) = about_inode_numbers(users, answers=True, copied=False)
            assert in_place.verdict is Verdict.LIMITED
            assert "shop.db" in in_place.found
            assert finding.verdict is verdict
            assert "shop.db" in finding.found
            assert "notes" not in finding.found
        finally:
            connection.close()
            other.close()


@pytest.mark.parametrize(
    ("program", "file", "subjects"),
    [
        ("smbd", "letter", ["files that clients of Samba have open"]),
        ("imap", "dovecot.index.log", ["indexes of Dovecot in use"]),
        ("imap", "letter", []),
        ("smbd", "", []),
    ],
)
def test_what_is_said_of_servers(
    program: str, file: str, subjects: list[str], ram_directory: Path
) -> None:
    """To be in a directory means nothing, nor what other programs have open."""
    image = make_image(ram_directory / "1.img", size_bytes=32 << 20)
    script = 'printf %s "$0" > /proc/self/comm; [ -z "$1" ] || exec 5>"$1"; echo ready; read end'
    with (
        mounted(image, ram_directory / "mnt") as path,
        closing(Program(["bash", "-c", script, program, file], cwd=path)) as server,
    ):
        users = find_users(capture(str(path)))
        found = about_inode_numbers(users, answers=True)
        assert [each.subject for each in found] == subjects
        assert all(each.verdict is Verdict.NEEDS_FORCE for each in found)
        assert all(
            f"{file} open in {program} (process {server.pid})" in each.found for each in found
        )
