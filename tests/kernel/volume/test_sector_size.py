"""What applications may write with O_DIRECT stays the same when their storage is replaced."""

from __future__ import annotations

import mmap
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import Blocked
from holdfast.model.volume import Volume
from holdfast.service import Holdfast, MigrateRequest, RestoreRequest
from holdfast.system.mounts.mount_table import mount_at
from holdfast.system.storage.block import sector_bytes
from holdfast.system.storage.loop import detach_loop, just_attached
from holdfast.volumes.attach import attach_volume, rebuild_volume
from holdfast.volumes.detach import detach_volume
from tests.kernel.restoration.bench import mounted
from tests.kernel.volume.stack import volume, wish


def _ordinary_image(path: Path, filesystem: str = "ext4", megabytes: int = 64) -> Path:
    """As mkfs makes it by itself: blocks of 1 KiB (ext4), sectors of 512 bytes (xfs)."""
    with path.open("wb") as file:
        file.truncate(megabytes << 20)
    subprocess.run([f"mkfs.{filesystem}", "-q", str(path)], check=True)
    return path


def _sectors(path: Path) -> int:
    there = mount_at(path)
    assert there is not None
    return sector_bytes(there.source)


@contextmanager
def _direct_file(path: Path) -> Iterator[int]:
    descriptor = os.open(path / "log", os.O_RDWR | os.O_CREAT | os.O_DIRECT, 0o600)
    try:
        os.ftruncate(descriptor, 1 << 20)
        yield descriptor
    finally:
        os.close(descriptor)


def _write_direct(descriptor: int, offset: int, length: int = 512) -> None:
    with mmap.mmap(-1, length) as page:
        assert os.pwrite(descriptor, page, offset) == length


@pytest.mark.parametrize("filesystem", ["ext4", "btrfs"])
def test_a_migration_keeps_it(settings: Settings, ram_directory: Path, filesystem: str) -> None:
    image = _ordinary_image(ram_directory / "1.img", megabytes=160)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        assert _sectors(path) == 512
        holdfast.adopt_volume("data", str(path))
        holdfast.restorations.migrate(
            MigrateRequest("data", (f"file:{ram_directory}/2.img",), filesystem=filesystem)
        )
        assert _sectors(path) == 512
        holdfast.detach_volume("data")
        holdfast.attach_volume("data")
        assert _sectors(path) == 512
        if filesystem == "ext4":  # btrfs itself wants whole blocks
            with _direct_file(path) as descriptor:
                _write_direct(descriptor, 512)


@pytest.mark.parametrize("filesystem", ["ext4", "xfs"])
def test_contents_of_an_ordinary_image_are_restored(
    settings: Settings, ram_directory: Path, filesystem: str
) -> None:
    megabytes = 300 if filesystem == "xfs" else 64
    backup = _ordinary_image(ram_directory / "backup.img", filesystem, megabytes)
    with mounted(backup, ram_directory / "backup") as place:
        (place / "file").write_text("backup")
    image = _ordinary_image(ram_directory / "1.img", filesystem, megabytes)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        (path / "file").write_text("now")
        holdfast.adopt_volume("data", str(path))
        holdfast.restorations.restore(RestoreRequest("data", f"file:{backup}"))
        assert (path / "file").read_text() == "backup"
        assert _sectors(path) == 512


def test_the_old_container_can_be_taken_back(settings: Settings, ram_directory: Path) -> None:
    """The roll-back that docs/restoration.md promises."""
    image = _ordinary_image(ram_directory / "1.img")
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        (path / "file").write_text("one")
        holdfast.adopt_volume("data", str(path))
        holdfast.restorations.migrate(MigrateRequest("data", (f"file:{ram_directory}/2.img",)))
        (path / "file").write_text("two")
        holdfast.restorations.restore(RestoreRequest("data", f"file:{image}"))
        assert (path / "file").read_text() == "one"
        present = holdfast.catalog.volume("data").adoption
        assert present is not None
        with pytest.raises(Blocked, match="shows now"):
            holdfast.restorations.restore(RestoreRequest("data", present.source))


def test_a_device_with_larger_sectors_is_told(settings: Settings, ram_directory: Path) -> None:
    """What programs could not do any more: not without --force."""
    image = _ordinary_image(ram_directory / "1.img")
    disk = ram_directory / "disk.img"
    with disk.open("wb") as file:
        file.truncate(64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        device = subprocess.run(
            ["losetup", "--find", "--show", "--sector-size=4096", str(disk)],
            check=True, capture_output=True, text=True,
        ).stdout.strip()  # fmt: skip
        try:
            with pytest.raises(Blocked, match="sectors of 4096"):
                holdfast.restorations.migrate(MigrateRequest("data", (f"block:{device}",)))
        finally:
            subprocess.run(["losetup", "--detach", device], check=True)


def test_a_gated_volume_of_small_sectors(settings: Settings, ram_directory: Path) -> None:
    """It is the volume's own: after attaching, also from a superblock, and on a leg that needs
    whole pages."""
    with _pages_only(ram_directory) as folder:
        wanted = replace(wish(ram_directory, f"file:{folder}/leg.img"), sector_bytes=512)
        with volume(settings, wanted) as made:
            path = Path(made.mount.path)
            for again in (lambda: made, lambda: _rebuilt(settings, made)):
                assert _sectors(path) == 512
                with _direct_file(path) as descriptor:
                    for number in range(16):
                        _write_direct(descriptor, 512 * number)
                    os.fsync(descriptor)
                detach_volume(settings, made)
                attach_volume(settings, again())


def _rebuilt(settings: Settings, made: Volume) -> Volume:
    (settings.gate_state_directory(made.name) / "gate.json").unlink()
    return rebuild_volume(settings, made.name, made.leg_urls)


@contextmanager
def _pages_only(ram_directory: Path) -> Iterator[Path]:
    """A file system on a device of 4096-byte sectors: direct I/O takes whole ones only."""
    image = ram_directory / "below.img"
    with image.open("wb") as file:
        file.truncate(200 << 20)
    device = subprocess.run(
        ["losetup", "--find", "--show", "--sector-size=4096", str(image)],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    made = just_attached(device)
    try:
        subprocess.run(["mkfs.ext4", "-q", device], check=True)
        with mounted(device, ram_directory / "below") as folder:
            yield folder
    finally:
        detach_loop(made)
