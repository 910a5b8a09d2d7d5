"""What was undone while the catalog had no room to say so is never finished afterwards."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from holdfast.config import Settings
from holdfast.errors import HoldfastError
from holdfast.service import Holdfast, MigrateRequest
from holdfast.system.mounts.mount_table import mount_at
from tests.kernel.conftest import settings  # noqa: F401 - a fixture
from tests.kernel.restoration.bench import application, make_image, mounted


def fill(home: Path, room_bytes: int) -> Path:
    """A file that leaves so much room."""
    found = os.statvfs(home)
    filler = home / "filler"
    filler.write_bytes(bytes(max(0, found.f_bavail * found.f_bsize - room_bytes)))
    return filler


def test_recover_goes_on_where_there_is_room_again(
    settings: Settings,  # noqa: F811
    ram_directory: Path,
) -> None:
    home = settings.home
    assert home is not None
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m,mode=0700", "none", str(home)], check=True
    )
    try:
        with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
            holdfast.adopt_volume("data", str(path))
            with application(path, ram_directory / "record") as running:
                for room_bytes in range(200_000, 264_000, 8_192):
                    filler = fill(home, room_bytes)
                    before = mount_at(path)
                    assert before is not None
                    filesystem = "btrfs" if before.filesystem == "ext4" else "ext4"
                    url = f"file:{ram_directory}/{room_bytes}.img"
                    try:
                        holdfast.restorations.migrate(
                            MigrateRequest("data", (url,), filesystem=filesystem)
                        )
                    except HoldfastError:
                        filler.unlink()
                        holdfast.recover()
                    filler.unlink(missing_ok=True)
                    assert holdfast.restorations.in_progress("data") is None
                    running.wait_for_more()
                assert running.verify() > 0
    finally:
        subprocess.run(["umount", "--lazy", str(home)], check=True)
