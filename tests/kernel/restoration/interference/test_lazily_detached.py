"""Somebody detaches a volume lazily under its users, and attaches it again: one file system, one
device, and the stale handles are found and moved."""

from __future__ import annotations

import subprocess
from pathlib import Path

from holdfast.config import Settings
from holdfast.service import Holdfast
from holdfast.system.storage.loop import loop_devices
from tests.kernel.restoration.bench import application, make_image, mounted


def devices_of(image: Path) -> list[str]:
    return [each.device for each in loop_devices() if each.backing_file == str(image)]


def test_the_image_is_never_attached_twice_and_rebind_moves_the_handles(
    settings: Settings, ram_directory: Path
) -> None:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        before = devices_of(image)
        with application(path, ram_directory / "record", simple=True) as running:
            subprocess.run(["umount", "--lazy", str(path)], check=True)
            holdfast.attach_volume("data")
            assert devices_of(image) == before
            assert (path / "log").exists(), "it is not the same file system"
            moved = holdfast.restorations.rebind("data")
            assert any(str(running.pid) in words for words in moved)
            assert holdfast.restorations.rebind("data") == ()
            running.wait_for_more()
            running.verify()
        holdfast.detach_volume("data")


def test_a_link_to_the_image_does_not_hide_it(settings: Settings, ram_directory: Path) -> None:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        (before,) = devices_of(image)
        link = ram_directory / "link.img"
        link.hardlink_to(image)
        with application(path, ram_directory / "record", simple=True):
            subprocess.run(["umount", "--lazy", str(path)], check=True)
            image.unlink()
            link.rename(image)
            holdfast.attach_volume("data")
            source = subprocess.run(
                ["findmnt", "-no", "SOURCE", str(path)], check=True, capture_output=True, text=True
            ).stdout.strip()
            assert source == before
