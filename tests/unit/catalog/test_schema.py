"""The file on disk has one shape, whichever version made it, and the rows in the code fit it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import holdfast.catalog.schema as schema
from holdfast.catalog import Catalog
from holdfast.catalog.changes import CHANGES
from holdfast.catalog.policies import row_of_standing
from holdfast.catalog.rows import (
    row_of_copy,
    row_of_receipt,
    row_of_restoration,
    row_of_step,
    row_of_volume,
)
from holdfast.catalog.tables import COPIES, POLICIES, RECEIPTS, RESTORATIONS, STEPS, VOLUMES
from holdfast.errors import StateFailed, StorageFailed
from holdfast.model.plan import StepName
from holdfast.model.policy import PolicyStanding
from holdfast.model.restoration import Copy, StepRecord, StepState
from tests.unit.catalog.test_catalog import make_receipt, make_volume
from tests.unit.catalog.test_restorations import make_restoration

MADE_BY_ALEMBIC = Path(__file__).with_name("made_by_alembic")
"""Catalogs as versions before 0.2 made them, with a volume in each, as SQL."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalog.sqlite"


def shape(path: Path) -> dict[str, object]:
    """Columns and indexes of every table, by its name."""
    with closing(sqlite3.connect(path)) as connection:
        names = "select name from sqlite_master where type = 'table' order by name"
        return {
            name: (
                connection.execute(f"select * from pragma_table_info('{name}')").fetchall(),
                sorted(
                    (unique, origin, partial)
                    for _, _, unique, origin, partial in connection.execute(
                        f"select * from pragma_index_list('{name}')"
                    )
                ),
            )
            for (name,) in connection.execute(names).fetchall()
        }


@pytest.mark.parametrize("number", sorted(each.stem for each in MADE_BY_ALEMBIC.iterdir()))
def test_a_catalog_of_an_earlier_version_gets_the_same_shape(path: Path, number: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((MADE_BY_ALEMBIC / f"{number}.sql").read_text())
    before = sqlite3.connect(path).execute("select name, leg_urls from volumes").fetchall()
    schema.prepare(path)
    assert schema.current_revision(path) == schema.HEAD
    fresh = path.with_name("fresh.sqlite")
    schema.prepare(fresh)
    assert str(shape(path)).lower() == str(shape(fresh)).lower()
    with Catalog(path) as catalog:
        assert [(each.name, list(each.leg_urls)) for each in catalog.volumes()] == [
            ("bank", ["file:/srv/1.img"])
        ]
    assert before == [("bank", '["file:/srv/1.img"]')]


def test_the_rows_of_the_code_have_the_columns_of_the_file(path: Path) -> None:
    schema.prepare(path)
    step = StepRecord(StepName.FREEZE, StepState.FINISHED, 1.0)
    rows = {
        VOLUMES: row_of_volume(make_volume()),
        RECEIPTS: row_of_receipt(make_receipt()),
        RESTORATIONS: row_of_restoration(make_restoration()),
        STEPS: row_of_step("a", step, 0),
        COPIES: row_of_copy(Copy("c", "shop", ("file:/1.img",), "ext4", "u", "", 1.0, "migrate")),
        POLICIES: row_of_standing("shop", PolicyStanding()),
    }
    with closing(sqlite3.connect(path)) as connection:
        for table, row in rows.items():
            columns = connection.execute(f"select * from pragma_table_info('{table.name}')")
            described = {name: (kind, key) for _, name, kind, _, _, key in columns}
            assert set(row) == set(described)
            assert {name for name, (kind, _) in described.items() if kind == "json"} == (
                table.objects
            )
            assert {name for name, (kind, _) in described.items() if kind == "boolean"} == (
                table.flags
            )
            assert tuple(name for name, (_, key) in described.items() if key) == table.key


def test_every_column_has_a_comment() -> None:
    tables = [each for changes in CHANGES.values() for each in changes if "create table" in each]
    assert len(tables) == 6
    for words in tables:
        lines = [line for line in words.strip().splitlines() if " not null" in line]
        assert lines
        assert [line for line in lines if " -- " not in line] == []


def test_preparing_twice_changes_nothing(path: Path) -> None:
    schema.prepare(path)
    before = path.read_bytes()
    with Catalog(path) as catalog:
        catalog.volumes()
    schema.prepare(path)
    after = path.read_bytes()
    # Bytes 18 to 19 say WAL or not, 24 to 27 and 92 to 99 count changes: the pragma of the first
    # connection sets them once.
    assert before[100:] == after[100:]


def test_a_change_that_fails_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CHANGES, "0003", (*CHANGES["0003"], "alter table no_such add column x"))
    with pytest.raises(StateFailed, match="no such table"):
        schema.prepare(path)
    assert shape(path) == {}
    monkeypatch.undo()
    schema.prepare(path)
    assert schema.current_revision(path) == schema.HEAD


def test_a_catalog_of_a_newer_version_is_refused_and_not_changed(path: Path) -> None:
    schema.prepare(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("update alembic_version set version_num = '9999'")
    with pytest.raises(StorageFailed, match="newer"):
        schema.prepare(path)
    assert schema.current_revision(path) == "9999"


def test_two_processes_may_open_an_empty_catalog_at_once(path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from holdfast.catalog import Catalog;"
        "Catalog(Path(sys.argv[1])).volumes()"
    )
    command = [sys.executable, "-c", program, str(path)]
    running = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
