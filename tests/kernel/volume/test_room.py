"""Images are sparse: room below them is looked at before something begins; thinness is said."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import AlreadyExists, TooSmall
from holdfast.service import Holdfast
from holdfast.volumes.checks.room import thinness
from holdfast.volumes.resize import resize_volume
from tests.faults import SmallDisk
from tests.kernel.volume.stack import SIZE, volume, wish


@pytest.fixture
def disk(ram_directory: Path) -> Path:
    """Where a test may mount a small disk."""
    return ram_directory / "disk"


def test_a_growth_without_room_is_refused(
    settings: Settings, ram_directory: Path, disk: Path
) -> None:
    with (
        SmallDisk(disk, 100 << 20) as small,
        volume(settings, wish(ram_directory, f"file:{disk}/leg.img")) as made,
    ):
        small.fill()
        before = (disk / "leg.img").stat().st_size
        with pytest.raises(TooSmall, match="too little for the structures"):
            resize_volume(settings, made, 64 * SIZE)
        assert (disk / "leg.img").stat().st_size == before
        small.free()


@pytest.mark.parametrize("spare", [False, True], ids=["leg", "spare"])
def test_a_leg_without_room_for_the_data_is_refused(
    settings: Settings, ram_directory: Path, disk: Path, spare: bool
) -> None:
    with (
        SmallDisk(disk, 8 << 20),
        volume(settings, wish(ram_directory)) as made,
        Holdfast(settings) as holdfast,
    ):
        with suppress(AlreadyExists):  # found already by its gate, which runs
            holdfast.catalog.add(made)
        (Path(made.mount.path) / "file").write_bytes(b"x" * (20 << 20))
        holdfast.detach_volume(made.name)  # everything is written
        holdfast.attach_volume(made.name)
        with pytest.raises(TooSmall, match="too little for what shop holds now"):
            holdfast.legs.add(made.name, f"file:{disk}/leg.img", spare=spare)
        assert not list(disk.iterdir())


def test_thinness_is_said(disk: Path) -> None:
    with SmallDisk(disk, 8 << 20):
        urls = [f"file:{disk}/{number}.img" for number in (1, 2)]
        assert not thinness(urls, 2 << 20)
        (words,) = thinness(urls, 8 << 20)
        assert "may grow by 16" in words
