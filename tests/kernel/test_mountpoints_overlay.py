"""An overlay whose layers have no absolute path keeps a file system: named, and undone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from holdfast.errors import InUse
from holdfast.volumes.mountpoints import capture, dismount
from tests.kernel.mount_bench import MountBench


def test_it_is_named(ram_directory: Path) -> None:
    with MountBench(ram_directory) as bench:
        path = bench.mount(bench.device("1"), "mnt")
        place = ram_directory / "overlay"
        for folder in (path / "l1", path / "l2", place):
            folder.mkdir()
        command = ["mount", "-t", "overlay", "overlay", "-o", "lowerdir=l1:l2", str(place)]
        subprocess.run(command, check=True, cwd=path)
        try:
            with pytest.raises(InUse, match=f"the overlay at {place}, whose layers"):
                dismount(capture(str(path)))
            assert path.is_mount()
        finally:
            subprocess.run(["umount", str(place)], check=True)
        dismount(capture(str(path)))
