"""A bind mount of something that was deleted or replaced is seen before anything is touched, and
what cannot be mounted again keeps nothing else from being mounted."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import Blocked, InUse, StorageFailed
from holdfast.model.plan import Strategy
from holdfast.mountpoints.capture import capture
from holdfast.mountpoints.dismount import dismount
from holdfast.mountpoints.placing import Manner
from holdfast.mountpoints.remount import remount
from holdfast.restoration.performing.perform import perform
from holdfast.service import AssessRequest, Holdfast
from tests.kernel.mountpoints.bench import MountBench
from tests.kernel.restoration.bench import application, make_image, mounted


@pytest.fixture
def bound(ram_directory: Path) -> Iterator[Path]:
    """Where a directory of the volume can be mounted as well."""
    path = ram_directory / "bound"
    path.mkdir()
    yield path
    subprocess.run(["umount", str(path)], check=False, capture_output=True)


def test_it_blocks_and_the_mend_works(settings: Settings, ram_directory: Path, bound: Path) -> None:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        (path / "sub").mkdir()
        subprocess.run(["mount", "--bind", str(path / "sub"), str(bound)], check=True)
        (path / "sub").rmdir()
        holdfast.adopt_volume("data", str(path))
        with application(path, ram_directory / "record") as running:
            with pytest.raises(Blocked, match="shows /sub of the volume, which was deleted"):
                holdfast.restorations.park("data", 60)
            running.wait_for_more()
            running.verify()
        with pytest.raises(InUse, match="deleted or replaced") as caught:
            holdfast.detach_volume("data")
        assert caught.value.mend == f"umount {bound}, then try again."
        subprocess.run(["umount", str(bound)], check=True)
        holdfast.detach_volume("data")
        holdfast.attach_volume("data")
        assert path.is_mount()


def test_a_replaced_file_blocks_too(ram_directory: Path) -> None:
    with MountBench(ram_directory) as bench:
        path = bench.mount(bench.device("1"), "mnt")
        place = ram_directory / "file"
        place.touch()
        (path / "conf").write_text("old")
        subprocess.run(["mount", "--bind", str(path / "conf"), str(place)], check=True)
        try:
            (path / "new").write_text("new")
            (path / "new").rename(path / "conf")
            with pytest.raises(InUse, match="/conf of the volume"):
                dismount(capture(str(path)))
            assert place.read_text() == "old"
            assert path.is_mount()
        finally:
            subprocess.run(["umount", str(place)], check=True)


def test_what_was_renamed_in_the_last_instant_is_found_again(
    ram_directory: Path, bound: Path
) -> None:
    with MountBench(ram_directory) as bench:
        device = bench.device("1")
        path = bench.mount(device, "mnt")
        (path / "before").mkdir()
        subprocess.run(["mount", "--bind", str(path / "before"), str(bound)], check=True)
        points = capture(str(path))
        (path / "before").rename(path / "after")
        gone = dismount(points)
        for root in remount(gone, device, "ext4").values():
            os.close(root)
        (path / "after" / "file").touch()
        assert (bound / "file").exists()


def test_undoing_leaves_out_what_cannot_be_mounted(ram_directory: Path, bound: Path) -> None:
    with MountBench(ram_directory) as bench:
        device = bench.device("1")
        path = bench.mount(device, "mnt")
        (path / "sub").mkdir()
        subprocess.run(["mount", "--bind", str(path / "sub"), str(bound)], check=True)
        gone = tuple(
            replace(point, inside="not there") if point.inside else point
            for point in dismount(capture(str(path)))
        )
        with pytest.raises(StorageFailed):
            remount(gone, device, "ext4")
        assert not path.is_mount()
        notes = []
        roots = remount(gone, device, "ext4", note=notes.append, manner=Manner(undoing=True))
        for root in roots.values():
            os.close(root)
        assert path.is_mount()
        assert not bound.is_mount()
        assert [note.subject for note in notes] == ["not mounted again"]
        assert str(bound) in notes[0].found


def test_a_stuck_restoration_can_be_given_up(settings: Settings, ram_directory: Path) -> None:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    aside = ram_directory / "aside.img"
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        new = f"file:{ram_directory / '2.img'}"
        with application(path, ram_directory / "record"):
            assessment = holdfast.restorations.assess(
                AssessRequest("data", Strategy.MIGRATE, (new,), filesystem="ext4")
            )

            def checkpoint(place: str) -> None:
                if place == "before restore":
                    image.rename(aside)  # the storage of the volume is away: nothing can be undone
                    raise InUse("a fault of this test")

            with pytest.raises(InUse, match="could not be undone entirely"):
                perform(settings, holdfast.catalog, assessment, checkpoint=checkpoint)
            (left,) = holdfast.recover()
            assert "was left" in left
            words = holdfast.restorations.abandon("data")
            assert any(f"{new} stays" in each for each in words)
            assert holdfast.recover() == []
        with suppress(FileNotFoundError):
            aside.rename(image)
        holdfast.attach_volume("data")
        assert path.is_mount()


def test_the_mend_leads_into_another_namespace(
    settings: Settings, ram_directory: Path, bound: Path
) -> None:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        (path / "sub").mkdir()
        words = f"mount --bind {path}/sub {bound} && rmdir {path}/sub && echo ready && read line"
        container = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert container.stdout is not None
        try:
            assert container.stdout.readline() == b"ready\n"
            holdfast.adopt_volume("data", str(path))
            with pytest.raises(InUse, match="deleted or replaced") as caught:
                holdfast.detach_volume("data")
            command, comma, _ = caught.value.mend.partition(", then try again.")
            assert command.startswith("nsenter") and comma
            subprocess.run(["sh", "-c", command], check=True)
            holdfast.detach_volume("data")
        finally:
            container.communicate(b"\n")
