"""Loop devices and mounts: attached with direct I/O, found again, grown, taken away twice."""

from __future__ import annotations

import os
import subprocess
import uuid
from pathlib import Path

import pytest

from holdfast.errors import CommandFailed, InUse
from holdfast.model.volume import FILE_SYSTEMS
from holdfast.system.mounts.mount_table import mount, mount_at, mount_holding, mounts_from, unmount
from holdfast.system.storage.filesystem import (
    KINDS,
    can_grow_mounted,
    check_filesystem,
    grow_filesystem,
    grow_unmounted_filesystem,
    identify,
    make_filesystem,
)
from holdfast.system.storage.loop import (
    attach_loop,
    detach_loop,
    just_attached,
    keep_attached,
    loop_device_at,
    loop_devices_of,
    set_loop_capacity,
)
from tests.faults.mounting import attach_to
from tests.faults.own_loop import own_loop
from tests.waiting import wait_until


def sparse(path: Path, size_bytes: int) -> Path:
    with path.open("ab") as file:
        file.truncate(size_bytes)
    return path


def test_attaching_twice_gives_the_same_device(tmp_path: Path) -> None:
    image = sparse(tmp_path / "image", 16 << 20)
    device = attach_loop(image)
    try:
        assert attach_loop(image) == device
        (found,) = loop_devices_of(image)
        assert (found.device, found.deleted, found.direct_io) == (device, False, True)
        image.unlink()
        (found,) = loop_devices_of(image)
        assert found.deleted
    finally:
        (found,) = loop_devices_of(image)
        assert detach_loop(found)
    assert not detach_loop(found)
    assert not loop_devices_of(image)
    assert loop_device_at(device) != found


def test_what_got_the_number_since_is_not_touched(tmp_path: Path) -> None:
    """Not even where it is a file of the same name."""
    image = sparse(tmp_path / "image", 16 << 20)
    with own_loop() as device:
        assert attach_to(device, image)
        (before,) = loop_devices_of(image)
        assert detach_loop(before)
        image.unlink()
        sparse(image, 16 << 20)
        wait_until(lambda: attach_to(device, image), "the device is not free")
        try:
            assert not detach_loop(before)
            assert not keep_attached(before)
            (now,) = loop_devices_of(image)
            assert now.device == device
        finally:
            subprocess.run(["losetup", "--detach", device], check=True)


def test_an_open_device_is_not_detached_silently(tmp_path: Path) -> None:
    image = sparse(tmp_path / "image", 16 << 20)
    device = attach_loop(image)
    (found,) = loop_devices_of(image)
    descriptor = os.open(device, os.O_RDONLY)
    try:
        with pytest.raises(InUse, match="still open"):
            detach_loop(found)
    finally:
        os.close(descriptor)
    assert not detach_loop(found)


def test_attached_again_it_stays_when_who_had_it_open_closes_it(tmp_path: Path) -> None:
    image = sparse(tmp_path / "image", 16 << 20)
    device = attach_loop(image)
    (found,) = loop_devices_of(image)
    descriptor = os.open(device, os.O_RDONLY)
    try:
        with pytest.raises(InUse, match="still open"):
            detach_loop(found)
        assert attach_loop(image) == device
    finally:
        os.close(descriptor)
    assert loop_devices_of(image) == [found]
    assert detach_loop(found)


def test_an_absent_file_is_an_error_in_losetups_words(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="No such file"):
        attach_loop(tmp_path / "absent")


@pytest.mark.parametrize("name", FILE_SYSTEMS)
def test_a_mounted_file_system_grows_online(tmp_path: Path, name: str) -> None:
    if not can_grow_mounted(name):
        pytest.skip(f"this host's root lacks the capability to grow {name} while mounted")
    size_bytes = max(KINDS[name].minimum_bytes, KINDS[name].minimum_grown_bytes // 2)
    image = sparse(tmp_path / "image", size_bytes)
    point = tmp_path / "a b"
    point.mkdir()
    device = attach_loop(image)
    try:
        identity = str(uuid.uuid4())
        make_filesystem(name, device, "a-label-of-no-small-length", identity)
        found = identify(device)
        assert found is not None
        assert (found.type, found.uuid) == (name, identity)
        assert "a-label-of-no-small-length".startswith(found.label)
        assert found.label
        mount(device, str(point), name, "noatime,nodev")
        try:
            entry = mount_at(point)
            assert entry is not None
            assert (entry.source, entry.filesystem) == (device, name)
            assert mount_holding(point / "x") == entry
            assert mounts_from(device) == [entry]
            before = os.statvfs(point).f_blocks
            sparse(image, 2 * size_bytes)
            set_loop_capacity(device)
            grow_filesystem(name, device, str(point))
            assert os.statvfs(point).f_blocks > before
            grow_filesystem(name, device, str(point))
            with (point / "file").open("w"), pytest.raises(InUse, match="cannot be unmounted"):
                unmount(point)
        finally:
            assert unmount(point)
        assert not unmount(point)
        assert check_filesystem(name, device).clean
    finally:
        detach_loop(just_attached(device))


def test_an_unmounted_ext4_grows_too(tmp_path: Path) -> None:
    image = sparse(tmp_path / "image", 16 << 20)
    device = attach_loop(image)
    try:
        make_filesystem("ext4", device, "label", str(uuid.uuid4()))
        sparse(image, 64 << 20)
        set_loop_capacity(device)
        grow_unmounted_filesystem("ext4", device)
        grow_unmounted_filesystem("ext4", device)
        mount(device, str(tmp_path), "ext4")
        try:
            assert os.statvfs(tmp_path).f_blocks * os.statvfs(tmp_path).f_frsize > 32 << 20
        finally:
            unmount(tmp_path)
        assert check_filesystem("ext4", device).clean
    finally:
        detach_loop(just_attached(device))
