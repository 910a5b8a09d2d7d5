"""The runner is killed before, in and after every step: the next command finishes or undoes it, and
the application goes on with everything it had, without an error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.model.plan import ORDER
from holdfast.model.volume import VolumeState
from holdfast.restoration.performing.perform import perform
from holdfast.service import AssessRequest, Holdfast, NewVolume
from holdfast.system.mounts.mount_table import mount_at, mounts
from holdfast.system.storage.loop import loop_devices
from tests.forked import in_fork
from tests.kernel.conftest import settings  # noqa: F401 - a fixture
from tests.kernel.restoration.bench import application, is_settled, make_image, mounted
from tests.soak import every_other

PLACES = [
    *("before prepare", "in prepare", "after prepare"),
    *(f"{when} {name}" for name in ORDER for when in ("before", "in", "after")),
]


def die_at(place: str, home: Settings, name: str, url: str, filesystem: str) -> None:
    """Migrate in a process that ends at this place, as by SIGKILL. No catalog may be open here."""

    def checkpoint(here: str) -> None:
        if here == place:
            os._exit(9)

    def migrate() -> None:
        with Holdfast(home) as holdfast:
            found = holdfast.restorations.assess(
                AssessRequest(name, None, (url,), filesystem=filesystem)
            )
            perform(home, holdfast.catalog, found, checkpoint=checkpoint)

    ended = in_fork(migrate)
    assert ended.code == 9, f"it did not come to {place}: {ended}"


@pytest.mark.parametrize("place", every_other(PLACES, 1))
def test_killed_there_it_is_finished_or_undone(
    settings: Settings,  # noqa: F811
    ram_directory: Path,
    place: str,
) -> None:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path:
        with Holdfast(settings) as holdfast:
            holdfast.adopt_volume("data", str(path))
        with application(path, ram_directory / "record") as running:
            die_at(place, settings, "data", f"file:{ram_directory}/2.img", "btrfs")
            with Holdfast(settings) as holdfast:
                done = holdfast.recover()
                assert len(done) == 1, done
                mount = mount_at(path)
                assert mount is not None
                finished = done[0].endswith("finished")
                assert mount.filesystem == ("btrfs" if finished else "ext4")
                assert (ram_directory / "2.img").exists() == finished
                assert [each.path for each in mounts()].count(str(path)) == 1
                folder = f"{ram_directory}/"
                assert sum(each.backing_file.startswith(folder) for each in loop_devices()) == 1
                assert is_settled(running.pid)
                running.wait_for_more()
                assert running.verify() > 0
                assert holdfast.restorations.in_progress("data") is None
                assert holdfast.recover() == []
                assert not any((settings.state_directory / "restorations").iterdir())


@pytest.mark.parametrize(
    "place",
    every_other(
        [
            *("in prepare", "in freeze", "after dismount", "in restore", "after restore"),
            *("in remount", "after remount", "in replay", "after replay", "after thaw"),
        ]
    ),
)
def test_a_gated_volume_keeps_or_changes_its_gate(
    settings: Settings,  # noqa: F811
    ram_directory: Path,
    place: str,
) -> None:
    url = f"file:{ram_directory}/1.img"
    path = ram_directory / "mnt"
    wanted = NewVolume(name="shop", size_bytes=128 << 20, mount_path=str(path), leg_urls=(url,))
    with Holdfast(settings) as holdfast:
        holdfast.create_volume(wanted)
    try:
        with application(path, ram_directory / "record") as running:
            die_at(place, settings, "shop", f"file:{ram_directory}/2.img", "btrfs")
            with Holdfast(settings) as holdfast:
                done = holdfast.recover()
                finished = done[0].endswith("finished")
                report = holdfast.show_volume("shop")
                assert report.state is VolumeState.HEALTHY
                assert report.filesystem == ("btrfs" if finished else "ext4")
                assert len(report.legs) == 1
                assert report.legs[0].url.endswith("2.img" if finished else "1.img")
                assert is_settled(running.pid)
                running.wait_for_more()
                assert running.verify() > 0
        with Holdfast(settings) as holdfast:
            holdfast.detach_volume("shop")
            assert holdfast.attach_volume("shop").state is VolumeState.HEALTHY
            assert (path / "log").exists()
    finally:
        with Holdfast(settings) as holdfast:
            holdfast.delete_volume("shop")
