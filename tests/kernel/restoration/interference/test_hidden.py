"""What a newcomer makes below the mount point while the volume is away is told, and not lost."""

from __future__ import annotations

import subprocess
from pathlib import Path

from holdfast.config import Settings
from holdfast.service import Holdfast
from tests.kernel.restoration.bench import application, make_image, mounted


def test_it_is_named_in_the_receipt(settings: Settings, ram_directory: Path) -> None:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    point = ram_directory / "mnt"
    point.mkdir()
    (point / "older").touch()
    with mounted(image, point) as path, Holdfast(settings) as holdfast:
        within = path / "bound"
        within.mkdir()
        subprocess.run(["mount", "--bind", str(path), str(within)], check=True)
        holdfast.adopt_volume("data", str(path))
        with application(path, ram_directory / "record") as running:
            holdfast.restorations.park("data", 60)
            (path / "upload").write_bytes(b"from a newcomer")
            holdfast.attach_volume("data")
            running.wait_for_more()
            running.verify()
        assert not (path / "upload").exists()
        subprocess.run(["umount", str(within)], check=True)
        (receipt,) = holdfast.receipts("data")
        subject = "made while it was away"
        told = [each for each in receipt.details["findings"] if each["subject"] == subject]
        assert [each["found"] for each in told] == [f"upload in the directory below {path}"]
        subprocess.run(["umount", str(path)], check=True)
        assert (point / "upload").read_bytes() == b"from a newcomer"
