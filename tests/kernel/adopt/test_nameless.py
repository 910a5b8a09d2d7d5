"""The image of an adopted volume is deleted, replaced or renamed while it is mounted: nothing lets
go of its data, and a migration moves it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import Blocked, HoldsData, StorageFailed
from holdfast.model.plan import Strategy
from holdfast.restoration.performing.perform import perform
from holdfast.service import AssessRequest, Holdfast, MigrateRequest
from holdfast.system.storage.loop import detach_loop, loop_devices
from tests.kernel.restoration.bench import application, make_image, mounted


def let_go(image: Path) -> None:
    """The devices that keep an image without a name."""
    for loop in loop_devices():
        if loop.backing_file == str(image):
            detach_loop(loop)


def test_deleted_it_is_not_put_away_and_can_be_moved(
    settings: Settings, ram_directory: Path
) -> None:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        (path / "file").write_text("kept")
        image.unlink()
        report = holdfast.show_volume("data")
        assert report.state == "degraded" and "was deleted" in report.reason
        with pytest.raises(HoldsData, match="no name any more") as caught:
            holdfast.detach_volume("data")
        assert "holdfast migrate data" in caught.value.mend
        try:
            with application(path, ram_directory / "record") as running:
                with pytest.raises(Blocked, match="image without a name") as refused:
                    holdfast.restorations.park("data", 60)
                assert "holdfast migrate data" in refused.value.mend
                holdfast.restorations.migrate(
                    MigrateRequest("data", (f"file:{ram_directory / '2.img'}",))
                )
                running.wait_for_more()
                running.verify()
            assert (path / "file").read_text() == "kept"
            assert holdfast.show_volume("data").state == "healthy"
            holdfast.detach_volume("data")
        finally:
            let_go(image)


def test_a_copy_in_its_place_is_never_taken_for_it(settings: Settings, ram_directory: Path) -> None:
    """What was written after the copy would be gone, and the comparison would agree with it."""
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        subprocess.run(["sync", "--file-system", str(path)], check=True)
        shutil.copy(image, ram_directory / "copy")
        (ram_directory / "copy").replace(image)
        (path / "file").write_text("newer than the copy")
        with pytest.raises(HoldsData):
            holdfast.detach_volume("data")
        try:
            holdfast.restorations.migrate(
                MigrateRequest("data", (f"file:{ram_directory / '2.img'}",))
            )
            assert (path / "file").read_text() == "newer than the copy"
            holdfast.detach_volume("data")
        finally:
            let_go(image)


def test_undone_it_is_mounted_from_its_device(settings: Settings, ram_directory: Path) -> None:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        image.unlink()

        def fail(place: str) -> None:
            if place == "after restore":
                raise StorageFailed("enough", "")

        try:
            with application(path, ram_directory / "record") as running:
                assessment = holdfast.restorations.assess(
                    AssessRequest("data", Strategy.MIGRATE, (f"file:{ram_directory / '2.img'}",))
                )
                with pytest.raises(StorageFailed, match="enough"):
                    perform(settings, holdfast.catalog, assessment, checkpoint=fail)
                running.wait_for_more()
                running.verify()
            assert holdfast.show_volume("data").state == "degraded"
        finally:
            subprocess.run(["umount", str(path)], check=True)
            let_go(image)


def test_renamed_it_is_found(settings: Settings, ram_directory: Path) -> None:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        image.rename(ram_directory / "renamed.img")
        assert holdfast.show_volume("data").state == "healthy"
        holdfast.restorations.park("data", 60)
        holdfast.attach_volume("data")
        assert path.is_mount()
        holdfast.restorations.migrate(MigrateRequest("data", (f"file:{ram_directory / '2.img'}",)))
        holdfast.detach_volume("data")
