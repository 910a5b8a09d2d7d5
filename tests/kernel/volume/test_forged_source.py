"""FUSE servers that call themselves the volume's block device are none of its mounts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.model.volume import VolumeState
from holdfast.system.mounts.mount_table import mount_at
from holdfast.volumes.detach import detach_volume
from holdfast.volumes.report import report_volume
from tests.faults.mounting import mount, unmount
from tests.kernel.volume.stack import volume, wish

_READ_ONLY = 1  # MS_RDONLY


@pytest.fixture
def settings(holdfast_home: Path) -> Settings:
    return Settings()


@contextmanager
def forged(device: str, path: Path) -> Iterator[None]:
    """As with `fusermount3 -o fsname=DEVICE,ro`, in use, and answering nothing."""
    connection = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={connection},rootmode=40000,user_id=1234,group_id=1234"
    try:
        mount(device, path, "fuse.x", options, _READ_ONLY)
        user = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            yield
        finally:
            os.close(user)
            unmount(path)
    finally:
        os.close(connection)


def test_one_over_the_volume_is_no_error_of_its_file_system(
    settings: Settings, ram_directory: Path
) -> None:
    with volume(settings, wish(ram_directory)) as made:
        device = report_volume(settings, made).device
        with forged(device, Path(made.mount.path)):
            report = report_volume(settings, made)
            assert (report.state, report.reason) == (VolumeState.HEALTHY, "")


def test_one_elsewhere_keeps_nobody_from_detaching_and_stays(
    settings: Settings, ram_directory: Path
) -> None:
    theirs = ram_directory / "theirs"
    theirs.mkdir()
    with volume(settings, wish(ram_directory)) as made:
        with forged(report_volume(settings, made).device, theirs):
            detach_volume(settings, made)
            assert mount_at(theirs) is not None
        assert report_volume(settings, made).state is VolumeState.DETACHED
