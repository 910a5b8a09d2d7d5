"""A folder in /var/tmp that only looks like that of a killed demo is nothing to `holdfast demo`."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from holdfast.catalog import Catalog
from holdfast.demo.dismantle import PREFIX, abandoned, dismantle, lock
from holdfast.errors import Untrusted
from holdfast.model.plan import StepName
from holdfast.model.restoration import Restoration, RestorationStage
from holdfast.model.volume import MountProperties, Volume

STRANGER = 65534


@pytest.fixture
def anybodys(disk_directory: Path) -> Path:
    """A directory as /var/tmp is."""
    place = disk_directory / "tmp"
    place.mkdir()
    place.chmod(0o1777)
    return place


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def forge(folder: Path, victim: Path) -> None:
    """What makes root delete a file: a migration that must be undone, to that file."""
    (folder / "state").mkdir(parents=True)
    (folder / "lock").touch(0o666)
    mount = MountProperties(path=str(folder / "m"), filesystem="ext4")
    old = Volume(
        name="demo", id="i", kind="gated", size_bytes=1 << 20, mount=mount,
        leg_urls=(f"file:{folder}/no.img",),
    )  # fmt: skip
    new = asdict(old) | {"id": "j", "leg_urls": (f"file:{victim}",)}
    catalog = Catalog(folder / "state" / "catalog.sqlite")
    catalog.add(old)
    begun = Restoration(
        id="x" * 32, volume="demo", strategy="migrate", cause="planned", started=time.time(),
        stage=RestorationStage.PREPARING, boot_id="b", step_names=(StepName.LOCK,),
        record={"storage": {"volume": new, "existed": False}, "old": asdict(old)},
    )  # fmt: skip
    catalog.restorations.begin(begun)
    catalog.close()


def _owned_by_a_stranger(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, STRANGER, STRANGER)


def _open_to_all(folder: Path) -> None:
    folder.chmod(0o777)


def _link(folder: Path) -> None:
    folder.rename(folder.with_name("theirs"))
    folder.symlink_to("theirs")


@pytest.mark.parametrize("change", [_owned_by_a_stranger, _open_to_all, _link])
def test_a_forged_folder_deletes_nothing(
    anybodys: Path, disk_directory: Path, change: Callable[[Path], None]
) -> None:
    victim = disk_directory / "precious"
    victim.write_text("precious")
    folder = anybodys / f"{PREFIX}evil"
    forge(folder, victim)
    change(folder)
    assert list(abandoned(anybodys)) == []
    with pytest.raises(Untrusted):
        dismantle(folder)
    assert victim.read_text() == "precious"
    assert folder.exists()


def test_a_folder_of_a_demo_that_was_killed_is_still_taken_away(anybodys: Path) -> None:
    folder = anybodys / f"{PREFIX}killed"
    folder.mkdir(0o700)
    os.close(lock(folder))
    assert list(abandoned(anybodys)) == [folder]
    dismantle(folder)
    assert not folder.exists()


def test_of_two_demos_one_takes_it_away(anybodys: Path) -> None:
    folder = anybodys / f"{PREFIX}killed"
    folder.mkdir(0o700)
    os.close(lock(folder))
    for home in abandoned(anybodys):
        assert list(abandoned(anybodys)) == []
        dismantle(home)
    assert not folder.exists()


def test_a_strangers_process_that_names_the_folder_is_let_alone(anybodys: Path) -> None:
    folder = anybodys / f"{PREFIX}killed"
    folder.mkdir(0o700)
    os.close(lock(folder))
    words = ["sleep", "60", f"{folder}/holdfast.demo.applications."]
    with subprocess.Popen(
        ["sh", "-c", 'sleep 60; : "$1"', *words[2:], f"{folder}/x"], user=STRANGER, group=STRANGER
    ) as stranger:
        try:
            dismantle(folder)
            assert stranger.poll() is None
        finally:
            subprocess.run(["pkill", "-P", str(stranger.pid)], check=False)
            stranger.kill()
    assert not folder.exists()
