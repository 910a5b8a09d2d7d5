"""Databases are recognised by what they keep open; other programs are not taken for one."""

from __future__ import annotations

import pytest

from holdfast.model.finding import Verdict
from holdfast.model.handle import Application, Handle, HandleKind, User
from holdfast.restoration.assessing.databases import databases_among


def user(*paths: str, pid: int = 7) -> User:
    handles = tuple(Handle(HandleKind.FILE, pid, f"/mnt/{path}", inside=path) for path in paths)
    return User(pid, 1, "program", "program", 0, Application("x"), (pid,), 1, handles)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("pg/base/16384/2619", "PostgreSQL"),
        ("pg_wal/000000010000000000000001", "PostgreSQL"),
        ("mysql/shop/orders.ibd", "MySQL or MariaDB"),
        ("ibdata1", "MySQL or MariaDB"),
        ("appendonlydir/appendonly.aof.1.incr.aof", "Redis"),
        ("shop.db-wal", "SQLite"),
        ("member/wal/0.wal", "etcd"),
        ("db/MANIFEST-000004", "RocksDB or LevelDB"),
    ],
)
def test_recognised(path: str, kind: str) -> None:
    found = databases_among([user(path)])
    assert [each.subject for each in found] == [f"{kind} at work"]
    assert found[0].verdict is Verdict.NEEDS_FORCE


@pytest.mark.parametrize("path", ["log", "notes/wal.txt", "database/README", "a.db", "base/x"])
def test_not_taken_for_one(path: str) -> None:
    assert databases_among([user(path)]) == []


def test_one_finding_for_many_processes() -> None:
    found = databases_among([user("base/1/1", pid=pid) for pid in range(10)])
    assert len(found) == 1
    assert "and 7 more" in found[0].found
