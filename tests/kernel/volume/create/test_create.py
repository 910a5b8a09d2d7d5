"""Creating a volume: mounted, labelled, owned like its directory, and gone without a trace."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.model.reporter import Reporter
from holdfast.model.volume import FILE_SYSTEMS, VolumeState
from holdfast.system.mounts.mount_table import mount_at
from holdfast.system.storage.filesystem import KINDS, identify
from holdfast.volumes.create import create_volume
from holdfast.volumes.delete import delete_volume
from holdfast.volumes.report import report_volume
from holdfast.volumes.stack.examine import examine_stack
from tests.faults.mounting import mount_image
from tests.kernel.volume.stack import SIZE, volume, wish


@pytest.fixture
def settings(holdfast_home: Path) -> Settings:
    return Settings()


@pytest.mark.parametrize("filesystem", FILE_SYSTEMS)
def test_each_file_system_is_mounted_as_recorded(
    settings: Settings, ram_directory: Path, filesystem: str
) -> None:
    size_bytes = max(SIZE, KINDS[filesystem].minimum_bytes)
    wanted = wish(
        ram_directory, size_bytes=size_bytes, filesystem=filesystem, options="noatime,nodev"
    )
    with volume(settings, wanted) as made:
        mounted = mount_at(made.mount.path)
        assert mounted is not None
        assert mounted.filesystem == filesystem
        assert {"noatime", "nodev"} <= set(mounted.options.split(","))
        found = identify(mounted.source)
        assert found is not None
        assert (found.type, found.label, found.uuid) == (filesystem, "shop", made.mount.uuid)
        (Path(made.mount.path) / "file").write_text("content")
        report = report_volume(settings, made)
        assert report.state is VolumeState.HEALTHY
        assert report.device == mounted.source
    assert mount_at(made.mount.path) is None
    assert examine_stack(settings, "shop").is_empty
    assert [entry.name for entry in ram_directory.iterdir()] == ["mnt-shop"]


def test_two_legs_and_progress(settings: Settings, ram_directory: Path) -> None:
    urls = [f"file:{ram_directory}/{number}.img" for number in (1, 2)]
    steps: list[str] = []
    made = create_volume(settings, wish(ram_directory, *urls), reporter=Reporter(say=steps.append))
    try:
        report = report_volume(settings, made)
        assert [(leg.number, leg.url, str(leg.state)) for leg in report.legs] == [
            (1, urls[0], "in-sync"),
            (2, urls[1], "in-sync"),
        ]
        assert steps[0] == "check"
        assert "make the ext4 file system" in steps
    finally:
        assert delete_volume(settings, made) == []


def test_without_a_leg_it_makes_an_image_of_its_own(
    settings: Settings, disk_directory: Path
) -> None:
    wanted = wish(disk_directory)
    made = create_volume(settings, type(wanted)(**{**wanted.__dict__, "leg_urls": ()}))
    try:
        (url,) = made.leg_urls
        assert url.startswith(f"file:{settings.state_directory}/")
    finally:
        delete_volume(settings, made)
    assert not Path(url.removeprefix("file:")).exists()


def test_the_root_gets_owner_and_mode_of_the_directory(
    settings: Settings, ram_directory: Path
) -> None:
    wanted = wish(ram_directory)
    directory = Path(wanted.mount.path)
    directory.mkdir()
    os.chown(directory, 33, 34)
    directory.chmod(0o2750)
    with volume(settings, wanted) as made:
        status = directory.stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (33, 34, 0o2750)
        assert (made.mount.owner_uid, made.mount.owner_gid, made.mount.mode) == (33, 34, 0o2750)


def test_a_detached_image_mounts_without_holdfast(settings: Settings, ram_directory: Path) -> None:
    wanted = wish(ram_directory)
    made = create_volume(settings, wanted)
    (Path(made.mount.path) / "file").write_text("content")
    assert delete_volume(settings, made, keep_images=True) == []
    directory = ram_directory / "by hand"
    directory.mkdir()
    image = made.leg_urls[0].removeprefix("file:")
    mount_image(image, directory)
    try:
        assert (directory / "file").read_text() == "content"
    finally:
        subprocess.run(["umount", str(directory)], check=True)
