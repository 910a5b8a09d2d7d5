"""Growing a volume while it is used: legs, loop device, file system; never shrinking."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import InvalidSize, MissingRights, NotAttached
from holdfast.model.volume import FILE_SYSTEMS
from holdfast.system.storage.filesystem import KINDS, can_grow_mounted
from holdfast.volumes.attach import attach_volume
from holdfast.volumes.detach import detach_volume
from holdfast.volumes.report import report_volume
from holdfast.volumes.resize import resize_volume
from tests.kernel.volume.stack import SIZE, volume, wish


@pytest.fixture
def settings(holdfast_home: Path) -> Settings:
    return Settings()


def capacity_bytes(path: str) -> int:
    statistics = os.statvfs(path)
    return statistics.f_blocks * statistics.f_frsize


@pytest.mark.parametrize("filesystem", FILE_SYSTEMS)
def test_every_file_system_grows(settings: Settings, ram_directory: Path, filesystem: str) -> None:
    size_bytes = max(SIZE, KINDS[filesystem].minimum_bytes)
    grown_bytes = max(2 * size_bytes, KINDS[filesystem].minimum_grown_bytes)
    urls = [f"file:{ram_directory}/{number}.img" for number in (1, 2)]
    wanted = wish(ram_directory, *urls, filesystem=filesystem, size_bytes=size_bytes)
    with volume(settings, wanted) as made:
        path = made.mount.path
        (Path(path) / "file").write_text("content")
        before = capacity_bytes(path)
        grown = resize_volume(settings, made, grown_bytes)
        assert grown.size_bytes == grown_bytes
        assert capacity_bytes(path) > before * 3 // 2
        assert resize_volume(settings, grown, grown_bytes) == grown
        detach_volume(settings, grown)
        assert attach_volume(settings, made).size_bytes == grown_bytes
        assert (Path(path) / "file").read_text() == "content"
        assert report_volume(settings, grown).size_bytes == grown_bytes


def test_it_grows_under_an_open_file(settings: Settings, ram_directory: Path) -> None:
    with volume(settings, wish(ram_directory)) as made:
        with (Path(made.mount.path) / "file").open("w") as file:
            if can_grow_mounted("ext4"):
                resize_volume(settings, made, 2 * SIZE)
            else:
                with pytest.raises(MissingRights, match="CAP_SYS_RESOURCE"):
                    resize_volume(settings, made, 2 * SIZE)
            file.write("still writable")
            file.flush()
            os.fsync(file.fileno())
        grown = resize_volume(settings, made, 2 * SIZE)
        assert capacity_bytes(made.mount.path) > SIZE * 3 // 2
        assert grown.size_bytes == 2 * SIZE


def test_sizes_that_cannot_be_meant_change_nothing(settings: Settings, ram_directory: Path) -> None:
    with volume(settings, wish(ram_directory)) as made:
        for size_bytes in (SIZE // 2, 0, SIZE + 1, 1 << 60):
            with pytest.raises(InvalidSize):
                resize_volume(settings, made, size_bytes)
        assert report_volume(settings, made).size_bytes == SIZE


def test_a_detached_volume_is_not_resized(settings: Settings, ram_directory: Path) -> None:
    with volume(settings, wish(ram_directory)) as made:
        detach_volume(settings, made)
        with pytest.raises(NotAttached):
            resize_volume(settings, made, 2 * SIZE)
