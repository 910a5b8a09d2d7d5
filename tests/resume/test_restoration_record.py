"""A restoration is finished or undone by what is written down of it, also as 0.1.0 wrote it down;
where that cannot be read, nothing is touched, and it can be given up."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import UnreadableRecord
from holdfast.model.recovery import Left
from holdfast.model.volume import VolumeState
from holdfast.restoration.performing.stale import rebind_stale
from holdfast.service import Holdfast, NewVolume
from holdfast.system.mounts.mount_table import mount_at
from tests.forked import in_fork
from tests.kernel.conftest import settings  # noqa: F401 - a fixture
from tests.kernel.restoration.bench import application, is_settled, make_image, mounted
from tests.resume.first_version import write_as_first_version, write_facts
from tests.resume.test_restoration_killed import die_at
from tests.waiting import wait_until


@pytest.mark.parametrize(
    ("place", "finished"),
    [
        ("after prepare", False),
        ("after freeze", False),
        ("after dismount", False),
        ("in restore", False),
        ("after restore", True),
        ("after remount", True),
        ("in replay", True),
        ("after thaw", True),
    ],
)
def test_what_0_1_0_began_is_finished_or_undone(
    settings: Settings,  # noqa: F811
    ram_directory: Path,
    place: str,
    finished: bool,
) -> None:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        with application(path, ram_directory / "record") as running:
            holdfast.close()  # a catalog must not be open at a fork
            die_at(place, settings, "data", f"file:{ram_directory}/2.img", "btrfs")
            write_as_first_version(settings, "data")
            (done,) = holdfast.recover()
            assert done.endswith("finished" if finished else "undone") or "removed" in done
            mount = mount_at(path)
            assert mount is not None
            assert mount.filesystem == ("btrfs" if finished else "ext4")
            assert (ram_directory / "2.img").exists() == finished
            assert is_settled(running.pid)
            running.wait_for_more()
            assert running.verify() > 0
        assert holdfast.restorations.in_progress("data") is None
        assert not any((settings.state_directory / "restorations").iterdir())
        if place == "in replay":
            (process,) = holdfast.receipts("data")[0].processes
            assert process["handles"]["file"] == {"identical": 4}


@pytest.mark.parametrize("place", ["in restore", "after remount"])
def test_of_a_gated_volume(settings: Settings, ram_directory: Path, place: str) -> None:  # noqa: F811
    with Holdfast(settings) as holdfast:
        url = f"file:{ram_directory}/1.img"
        path = ram_directory / "mnt"
        wanted = NewVolume(name="shop", size_bytes=128 << 20, mount_path=str(path), leg_urls=(url,))
        holdfast.create_volume(wanted)
        try:
            with application(path, ram_directory / "record") as running:
                holdfast.close()  # a catalog must not be open at a fork
                die_at(place, settings, "shop", f"file:{ram_directory}/2.img", "btrfs")
                write_as_first_version(settings, "shop")
                holdfast.recover()
                report = holdfast.show_volume("shop")
                assert report.state is VolumeState.HEALTHY
                assert report.filesystem == ("btrfs" if place == "after remount" else "ext4")
                running.wait_for_more()
                assert running.verify() > 0
        finally:
            holdfast.delete_volume("shop")


def test_what_0_1_0_parked_is_attached(settings: Settings, ram_directory: Path) -> None:  # noqa: F811
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        with application(path, ram_directory / "record") as running:
            holdfast.restorations.park("data", 60.0)
            write_as_first_version(settings, "data")
            holdfast.attach_volume("data")
            running.wait_for_more()
            assert running.verify() > 0
        assert holdfast.receipts("data")[0].outcome == "done"


@pytest.mark.parametrize(("place", "finished"), [("in dismount", False), ("in replay", True)])
def test_stale_handles_that_0_1_0_began_to_move(
    settings: Settings,  # noqa: F811
    ram_directory: Path,
    place: str,
    finished: bool,
) -> None:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        with application(path, ram_directory / "record") as running:
            before = mount_at(path)
            assert before is not None
            subprocess.run(["umount", "--lazy", str(path)], check=True)
            subprocess.run(["mount", before.source, str(path)], check=True)
            holdfast.close()  # a catalog must not be open at a fork
            rebind_and_die_at(place, settings)
            write_as_first_version(settings, "data")
            (done,) = holdfast.recover()
            assert done.endswith("finished" if finished else "undone")
            assert is_settled(running.pid)
            running.wait_for_more()
            assert running.verify() > 0
        assert holdfast.restorations.in_progress("data") is None


def rebind_and_die_at(place: str, home: Settings) -> None:
    """Move stale handles in a process that ends at this place, as by SIGKILL."""

    def checkpoint(here: str) -> None:
        if here == place:
            os._exit(9)

    def move() -> None:
        with Holdfast(home) as holdfast:
            volume = holdfast.catalog.volume("data")
            rebind_stale(home, holdfast.catalog, volume, 60.0, False, checkpoint)

    ended = in_fork(move)
    assert ended.code == 9, f"it did not come to {place}: {ended}"


@pytest.mark.parametrize(
    "record", [{"version": 99}, {"old": "x"}, [], None], ids=["newer", "damaged", "list", "null"]
)
def test_one_that_cannot_be_read_is_left_alone_until_it_is_given_up(
    settings: Settings,  # noqa: F811
    ram_directory: Path,
    record: object,
) -> None:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        with application(path, ram_directory / "record", simple=True) as running:
            holdfast.close()  # a catalog must not be open at a fork
            die_at("after dismount", settings, "data", f"file:{ram_directory}/2.img", "btrfs")
            write_facts(settings.catalog_path, record)
            (left,) = holdfast.recover()
            assert isinstance(left, Left)
            assert "record" in left
            with pytest.raises(UnreadableRecord, match="data") as caught:
                holdfast.attach_volume("data")
            assert "recover --abandon data" in caught.value.mend
            there = mount_at(path)
            assert there is None or there.filesystem != "ext4", "its storage must be left alone"
            words = holdfast.restorations.abandon("data")
            assert any(f"processes {running.pid}" in each for each in words)
            assert holdfast.restorations.in_progress("data") is None
            wait_until(lambda: running.progress()[1] > 0)
            assert running.process.poll() is None, "it has errors in place of its files, and runs"
        assert holdfast.recover() == []
        assert holdfast.attach_volume("data").filesystem == "ext4"
        assert (path / "log").exists()
        assert holdfast.receipts("data")[0].outcome.startswith("abandoned")
