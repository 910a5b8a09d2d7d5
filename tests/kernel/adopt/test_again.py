"""An image that mount(8) attached by itself is found again, however often it is detached.

The image lies on another file system than the root: the kernel names it by the mount it was opened
through.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from holdfast.adopted.present import adoption_of
from holdfast.adopted.source import mountable_source
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


def test_while_somebody_looks_at_its_device(settings: Settings, ram_directory: Path) -> None:
    """As udev does. The kernel lets go of the device with who has it open last: at any time."""
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        volume = holdfast.catalog.volume("data")
        looking = os.open(device_of(image), os.O_RDONLY)
        holdfast.detach_volume("data")
        assert device_of(image)
        source, options = mountable_source(volume.mount, adoption_of(volume))
        os.close(looking)
        subprocess.run(["mount", "-o", options or "rw", source, str(path)], check=True)
        subprocess.run(["umount", str(path)], check=True)

        assert holdfast.attach_volume("data").source == f"file:{image}"
        looking = os.open(device_of(image), os.O_RDONLY)
        holdfast.detach_volume("data")
        holdfast.attach_volume("data")
        os.close(looking)
        assert len([loop for loop in loop_devices() if loop.backing_file == str(image)]) == 1


def device_of(image: Path) -> str:
    return next(loop.device for loop in loop_devices() if loop.backing_file == str(image))
