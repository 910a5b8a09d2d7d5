"""Numbers of devices are used again: what has one of ours by now is somebody else's."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from holdfast.mountpoints.capture import capture
from holdfast.mountpoints.dead import dismount_dead
from holdfast.mountpoints.dismount import dismount
from holdfast.system.mounts.mount_table import mount_at
from holdfast.system.storage.filesystem import make_filesystem
from holdfast.system.storage.loop import loop_devices_of
from tests.faults.fuse_leg import FuseLeg
from tests.faults.own_loop import own_loop
from tests.kernel.mountpoints.bench import SIZES, MountBench, run
from tests.waiting import wait_until

_MOST_MOUNTS = 30


@pytest.fixture
def device() -> Iterator[str]:
    """A loop device that nobody gets who asks for a free one."""
    with own_loop() as device:
        yield device


@pytest.mark.parametrize("filesystem", ["ext4", "btrfs"])
def test_another_image_in_the_same_loop_device_stays_mounted(
    ram_directory: Path, device: str, filesystem: str
) -> None:
    with MountBench(ram_directory) as bench:
        ours, theirs = (_image(bench, name, filesystem) for name in ("ours", "theirs"))
        run("losetup", device, ours)
        path = bench.mount(device, "path")
        points = capture(str(path))
        run("losetup", "--detach", device)
        run("umount", path)
        wait_until(lambda: not loop_devices_of(ours), "the device is not free")
        run("losetup", device, theirs)
        other = bench.mount(device, "other")
        run("losetup", "--detach", device)
        assert mount_at(other) is not None
        assert dismount(points) == points
        assert mount_at(other) is not None


def test_another_fuse_connection_with_the_same_number_is_not_aborted(ram_directory: Path) -> None:
    with ExitStack() as others:
        for count in range(_MOST_MOUNTS):  # somebody else may get the number first
            image, path = ram_directory / "image", ram_directory / f"served-{count}"
            with FuseLeg(image, ram_directory / "gone", 1 << 20) as leg:
                points = capture(str(leg.path))
            other = others.enter_context(FuseLeg(image, path, 1 << 20))
            mounted = mount_at(other.path)
            assert mounted is not None
            if mounted.device_number == points[0].device:
                break
        else:
            pytest.fail("the kernel did not use the number again")
        assert dismount_dead(points) == []
        assert other.path.read_bytes()[:1] == b"\0"


def _image(bench: MountBench, name: str, filesystem: str) -> str:
    image = bench.folder / f"{name}.img"
    with image.open("wb") as file:
        file.truncate(SIZES[filesystem])
    make_filesystem(filesystem, str(image), "", str(uuid.uuid4()))
    return str(image)
