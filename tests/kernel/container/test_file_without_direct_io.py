"""A file system that refuses O_DIRECT (ramfs) still makes a leg: buffered, and locked."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.containers import open_container
from tests.faults.mounting import mount, unmount

SIZE = 1 << 20


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    mount("ramfs", tmp_path, "ramfs", "")
    try:
        yield tmp_path
    finally:
        unmount(tmp_path)


def test_it_falls_back_to_buffered_io(folder: Path) -> None:
    container = open_container(f"file:{folder}/leg.img")
    container.create(SIZE)
    with pytest.raises(OSError, match="Invalid argument"):
        os.open(folder / "leg.img", os.O_RDWR | os.O_DIRECT)
    device = container.open()
    try:
        assert not fcntl.fcntl(device.descriptor, fcntl.F_GETFL) & os.O_DIRECT
        with pytest.raises(BlockingIOError):
            container.open()
    finally:
        device.close()
