"""Mounts that get their gate where they lie: on an image, and on a block device."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.ram_disk import has_ram_disks, ram_disk
from tests.kernel.restoration.bench import mounted

FILE_SYSTEM_BYTES = {"ext4": 64 << 20, "xfs": 300 << 20, "btrfs": 120 << 20}
ROOM_BYTES = 8 << 20
"""What a device has beyond its file system."""

IMAGE, DEVICE = "image", "device"


def needs(storage: str) -> None:
    """Skip the test where this host cannot make such storage."""
    if storage == DEVICE and not has_ram_disks():
        pytest.skip("no zram on this host")


def make(place: Path, filesystem: str, size_bytes: int) -> None:
    """A file system at the beginning of an image or device, of that size."""
    size = str(size_bytes)
    command = {
        "ext4": ["mkfs.ext4", "-q", "-F", "-b", "4096", str(place), f"{size_bytes >> 10}k"],
        "xfs": ["mkfs.xfs", "-q", "-f", "-d", f"size={size}", str(place)],
        "btrfs": ["mkfs.btrfs", "-q", "-f", "-b", size, str(place)],
    }[filesystem]
    subprocess.run(command, check=True, capture_output=True)


@contextmanager
def container(
    folder: Path, kind: str, filesystem: str = "ext4", room_bytes: int | None = None
) -> Iterator[Path]:
    """An image that its file system fills, or a device with room; or with this much of it."""
    size_bytes = FILE_SYSTEM_BYTES[filesystem]
    if kind == IMAGE:
        place = folder / "plain.img"
        with place.open("wb") as file:
            file.truncate(size_bytes + (room_bytes or 0))
        place.chmod(0o600)
        make(place, filesystem, size_bytes)
        yield place
        return
    with ram_disk(size_bytes + (ROOM_BYTES if room_bytes is None else room_bytes)) as device:
        make(device, filesystem, size_bytes)
        yield device


@contextmanager
def plain_mount(
    folder: Path,
    kind: str = IMAGE,
    filesystem: str = "ext4",
    *options: str,
    room_bytes: int | None = None,
) -> Iterator[tuple[Path, Path]]:
    """It mounted; its storage, and where."""
    with (
        container(folder, kind, filesystem, room_bytes) as place,
        mounted(place, folder / "mnt", *options) as path,
    ):
        yield place, path


def print_of(place: Path) -> tuple[int, str]:
    """The size of an image or device, and what tells its contents from others."""
    size_bytes, summary = 0, hashlib.sha256()
    with place.open("rb", buffering=0) as file:
        while part := file.read(1 << 20):
            summary.update(part)
            size_bytes += len(part)
    return size_bytes, summary.hexdigest()
