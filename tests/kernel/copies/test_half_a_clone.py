"""Who is in the mount of a clone whose maker was killed keeps no later command from cleaning up."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from holdfast.copies.images import dismount, make_image, remove_image
from holdfast.model.copy import VolumeCopy
from holdfast.system.children.run import run
from holdfast.system.mounts.mount_table import mount, mount_at


def test_somebody_is_in_it(ram_directory: Path) -> None:
    image, place = ram_directory / "clone.img", ram_directory / "place"
    half = VolumeCopy(
        id="0" * 32,
        volume="shop",
        volume_id="",
        url=f"file:{image}",
        size_bytes=16 << 20,
        position=0,
        made=0.0,
        clone="old",
        made_directory=str(place),
    )
    half = replace(half, inode=make_image(half.url, half.size_bytes))
    run(["mkfs.ext4", "-q", str(image)])
    place.mkdir()
    mount(str(image), str(place), "ext4", "loop")
    inside = os.open(place, os.O_RDONLY)
    try:
        for _ in range(2):
            dismount(half)
        assert mount_at(str(place)) is None
        assert not place.exists()
        assert remove_image(half)
        assert os.listdir(inside) == ["lost+found"]  # noqa: PTH208 - no path leads there
    finally:
        os.close(inside)
