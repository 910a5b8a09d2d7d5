"""A migration that the host's restart interrupted: the storage that has everything is the volume.

The restart is played: the application ended, nothing mounted, and the record of another boot.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import InUse
from holdfast.service import Holdfast, NewVolume
from holdfast.system.mounts.mount_table import mount_at, unmount
from holdfast.volumes.detach import detach_volume
from tests.kernel.conftest import settings  # noqa: F401 - a fixture
from tests.kernel.restoration.bench import application, detach_loops_in, make_image, mounted
from tests.resume.test_restoration_killed import die_at


def restart(home: Settings, folder: Path) -> None:
    """What is left of a host after its restart."""
    if mount_at(folder / "mnt") is not None:
        unmount(folder / "mnt")  # umount(8) looks at it first, and would wait where it is a cover
    with Holdfast(home) as holdfast:
        volume = holdfast.catalog.volume("data")
        if not volume.is_adopted:
            detach_volume(home, volume)
    detach_loops_in(folder)
    with closing(sqlite3.connect(home.catalog_path)) as catalog, catalog:
        assert catalog.execute("update restorations set boot_id = 'earlier'").rowcount == 1


def run_and_die(home: Settings, folder: Path, place: str) -> int:
    """How many lines were acknowledged, to whomever the volume was by then."""
    with application(folder / "mnt", folder / "record", simple=True) as running:
        die_at(place, home, "data", f"file:{folder}/2.img", "btrfs")
        if place == "after thaw":
            running.wait_for_more(20)
        running.process.kill()
        running.process.wait()
        return running.progress()[0]


@pytest.mark.parametrize("place", ["in prepare", "after dismount", "after restore", "after thaw"])
def test_an_adopted_volume(settings: Settings, ram_directory: Path, place: str) -> None:  # noqa: F811
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path:
        with Holdfast(settings) as holdfast:
            holdfast.adopt_volume("data", str(path))
        acknowledged = run_and_die(settings, ram_directory, place)
        restart(settings, ram_directory)
        complete = place in ("after restore", "after thaw")
        with Holdfast(settings) as holdfast:
            assert holdfast.attach_volume("data").filesystem == ("btrfs" if complete else "ext4")
            assert (path / "log").read_text().count("\n") >= acknowledged
            assert (ram_directory / "2.img").exists() == complete
            assert holdfast.restorations.in_progress("data") is None


@pytest.mark.parametrize("place", ["in restore", "after thaw"])
def test_a_gated_volume(settings: Settings, ram_directory: Path, place: str) -> None:  # noqa: F811
    path, url = ram_directory / "mnt", f"file:{ram_directory}/1.img"
    wanted = NewVolume(name="data", size_bytes=128 << 20, mount_path=str(path), leg_urls=(url,))
    with Holdfast(settings) as holdfast:
        holdfast.create_volume(wanted)
    try:
        acknowledged = run_and_die(settings, ram_directory, place)
        restart(settings, ram_directory)
        expected = "btrfs" if place == "after thaw" else "ext4"
        with Holdfast(settings) as holdfast:
            assert holdfast.attach_volume("data").filesystem == expected
        assert (path / "log").read_text().count("\n") >= acknowledged
    finally:
        with Holdfast(settings) as holdfast:
            holdfast.delete_volume("data")


def test_users_that_were_parked(settings: Settings, ram_directory: Path) -> None:  # noqa: F811
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        with application(path, ram_directory / "record"):
            holdfast.restorations.park("data", 120.0)
            with pytest.raises(InUse, match="parked"):
                holdfast.delete_volume("data")
        restart(settings, ram_directory)
        assert holdfast.attach_volume("data").filesystem == "ext4"
        assert holdfast.restorations.in_progress("data") is None
