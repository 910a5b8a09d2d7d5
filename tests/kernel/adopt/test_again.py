"""An image that mount(8) attached by itself is found again, however often it is detached.

The image lies on another file system than the root: the kernel names it by the mount it was opened
through.
"""

from __future__ import annotations

from pathlib import Path

from holdfast.config import Settings
from holdfast.service import Holdfast
from holdfast.system.storage.loop import loop_devices
from tests.kernel.restoration.bench import make_image, mounted


def test_detached_and_attached_three_times(settings: Settings, ram_directory: Path) -> None:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        for _ in range(3):
            assert holdfast.detach_volume("data").source == f"file:{image}"
            assert not [loop for loop in loop_devices() if loop.backing_file == str(image)]
            assert holdfast.attach_volume("data").source == f"file:{image}"
            assert [loop for loop in loop_devices() if loop.backing_file == str(image)]
