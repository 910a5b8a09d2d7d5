"""Two catalog objects in one process: SQLite's record locks are the process's, not theirs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from holdfast.catalog import Catalog
from tests.unit.catalog.test_catalog import make_volume

SHOW = """
import sys, pathlib, holdfast.catalog
with holdfast.catalog.Catalog(pathlib.Path(sys.argv[1])) as catalog:
    print(*[volume.name for volume in catalog.volumes()])
"""


def shown_by_another_program(path: Path) -> list[str]:
    """When it ends as the last one, it removes SQLite's log of what was written."""
    shown = subprocess.run(
        [sys.executable, "-c", SHOW, str(path)], check=True, capture_output=True, text=True
    )
    return shown.stdout.split()


def test_what_is_added_to_the_first_one_is_seen_by_programs_that_come_and_go(
    tmp_path: Path,
) -> None:
    path = tmp_path / "state" / "catalog.sqlite"
    with Catalog(path) as first:
        first.add(make_volume())
        with Catalog(path):
            assert shown_by_another_program(path) == ["bank"]
            first.add(make_volume("shop", "id-2"))
            assert shown_by_another_program(path) == ["bank", "shop"]
