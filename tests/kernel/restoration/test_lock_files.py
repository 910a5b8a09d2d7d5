"""The update lock's file goes with its image."""

from __future__ import annotations

from pathlib import Path

from holdfast.config import Settings
from holdfast.service import Holdfast, MigrateRequest, NewVolume


def test_deleted_with_the_volume(settings: Settings, ram_directory: Path) -> None:
    url, path = f"file:{ram_directory}/1.img", ram_directory / "mnt"
    wanted = NewVolume(name="shop", size_bytes=128 << 20, mount_path=str(path), leg_urls=(url,))
    with Holdfast(settings) as holdfast:
        holdfast.create_volume(wanted)
        try:
            holdfast.restorations.migrate(
                MigrateRequest("shop", (f"file:{ram_directory}/2.img",), filesystem="btrfs")
            )
            assert (ram_directory / "2.img.holdfast-lock").exists()
        finally:
            holdfast.delete_volume("shop")
        assert not list(ram_directory.glob("2.img*"))
        assert (ram_directory / "1.img").exists(), "the copy stays"
