"""A catalog that is open at a fork: what a child committed there could be lost, so it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.catalog import Catalog
from holdfast.errors import InUse
from tests.forked import in_fork
from tests.unit.catalog.test_catalog import make_volume


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "catalog.sqlite"


def test_a_child_can_neither_use_it_nor_open_it_again(path: Path) -> None:
    with Catalog(path) as catalog:
        catalog.add(make_volume())

        def use() -> None:
            with pytest.raises(InUse, match="was open when this process was forked"):
                catalog.volumes()
            with pytest.raises(InUse):
                Catalog(path)

        ended = in_fork(use)
        assert ended.code == 0, str(ended)
        assert catalog.volumes() == [make_volume()]


def test_a_child_that_closes_it_leaves_it_open_here(path: Path) -> None:
    with Catalog(path) as catalog:
        catalog.add(make_volume())
        ended = in_fork(catalog.close)
        assert ended.code == 0, str(ended)
        assert catalog.volumes() == [make_volume()]


def test_what_a_child_commits_to_one_that_was_closed_stays(path: Path) -> None:
    with Catalog(path) as catalog:
        catalog.volumes()

    def add() -> None:
        with Catalog(path) as catalog:
            catalog.add(make_volume())

    ended = in_fork(add)
    assert ended.code == 0, str(ended)
    with Catalog(path) as catalog:
        assert catalog.volumes() == [make_volume()]
