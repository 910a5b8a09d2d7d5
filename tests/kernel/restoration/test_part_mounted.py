"""Volumes of which only a directory or subvolume is mounted: all of the file system moves."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.service import Holdfast, MigrateRequest
from holdfast.system.mounts.mount_table import mount_at
from tests.kernel.restoration.bench import application, make_image, mounted


@pytest.mark.parametrize("filesystem", ["btrfs", "ext4"])
def test_it_is_copied_while_applications_run(
    settings: Settings, ram_directory: Path, filesystem: str
) -> None:
    image = make_image(ram_directory / "1.img", filesystem, size_bytes=160 << 20)
    path = ram_directory / "mnt"
    path.mkdir()
    with mounted(image, ram_directory / "top") as top:
        make = ["btrfs", "-q", "subvolume", "create"] if filesystem == "btrfs" else ["mkdir"]
        subprocess.run([*make, str(top / "part")], check=True)
        (top / "outside").write_bytes(b"x" * 5_000_000)
        subprocess.run(["mount", "--bind", str(top / "part"), str(path)], check=True)
        subprocess.run(["umount", str(top)], check=True)
        try:
            with Holdfast(settings) as holdfast:
                holdfast.adopt_volume("data", str(path))
                with application(path, ram_directory / "record") as running:
                    url = f"file:{ram_directory}/2.img"
                    receipt = holdfast.restorations.migrate(
                        MigrateRequest("data", (url,), filesystem="ext4")
                    )
                    assert receipt is not None
                    assert receipt.details["online"]["bytes"] > 5_000_000
                    assert receipt.bytes_replayed < 5_000_000
                    assert receipt.details["verified"]["late_bytes"] < 1_000_000
                    assert mount_at(path).root == "/part"  # type: ignore[union-attr]
                    running.wait_for_more()
                    assert running.verify() > 0
        finally:
            subprocess.run(["umount", str(path)], check=True)
