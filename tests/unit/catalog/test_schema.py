"""The file on disk and the tables in the code are the same, whichever way it got there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine

import holdfast.catalog.schema as schema
from holdfast.catalog.tables import Base
from holdfast.errors import StorageFailed


def test_migrations_from_nothing_give_the_tables_of_the_code(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    schema.prepare(path)
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_head_is_what_alembic_takes_for_the_newest() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [schema.HEAD]


def test_every_column_has_a_comment() -> None:
    silent = [
        f"{table.name}.{column.name}"
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if not column.comment
    ]
    assert silent == []


def test_preparing_twice_changes_nothing_and_loads_no_alembic(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    schema.prepare(path)
    before = path.read_bytes()
    program = (
        "import sys; from pathlib import Path; from holdfast.catalog import Catalog;"
        "Catalog(Path(sys.argv[1])).volumes();"
        "sys.exit('alembic' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)
    schema.prepare(path)
    after = path.read_bytes()
    # Bytes 18 to 19 say WAL or not, 24 to 27 and 92 to 99 count changes: the pragma of the first
    # connection sets them once.
    assert before[100:] == after[100:]


def test_a_catalog_of_a_newer_version_is_refused_and_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    schema.prepare(path)
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.exec_driver_sql("update alembic_version set version_num = '9999'")
    engine.dispose()
    with pytest.raises(StorageFailed, match="newer"):
        schema.prepare(path)
    assert schema.current_revision(path) == "9999"


def test_two_processes_may_open_an_empty_catalog_at_once(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from holdfast.catalog import Catalog;"
        "Catalog(Path(sys.argv[1])).volumes()"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "catalog.sqlite")]
    running = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
