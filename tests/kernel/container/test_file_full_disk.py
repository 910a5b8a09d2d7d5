"""Creating and growing on storage that is full or read-only: a clear error, nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.containers import open_container
from holdfast.errors import ContainerFailed
from tests.faults import SmallDisk


def test_a_sparse_image_may_promise_more_than_there_is(tmp_path: Path) -> None:
    with SmallDisk(tmp_path / "disk", 1 << 20) as disk:
        assert open_container(f"file:{disk.path}/leg.img").create(64 << 20)


def test_a_read_only_file_system_is_named_and_keeps_nothing(tmp_path: Path) -> None:
    with SmallDisk(tmp_path / "disk", 1 << 20) as disk:
        disk.read_only(True)
        with pytest.raises(ContainerFailed, match="Read-only"):
            open_container(f"file:{disk.path}/leg.img").create(1 << 20)
        assert not list(disk.path.iterdir())
