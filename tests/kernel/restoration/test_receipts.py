"""The receipt says what became of every handle, also of a restoration that was undone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import InUse
from holdfast.restoration.performing.perform import perform
from holdfast.service import AssessRequest, Holdfast, RestoreRequest
from tests.kernel.restoration.bench import application, make_image, mounted


def test_what_became_of_each_handle_when_it_was_undone(
    settings: Settings, ram_directory: Path
) -> None:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        request = AssessRequest("data", None, (f"file:{ram_directory}/2.img",), filesystem="ext4")

        def fail(place: str) -> None:
            if place == "in remount":
                raise InUse("a fault of this test")

        with application(path, ram_directory / "record") as running:
            assessment = holdfast.restorations.assess(request)
            with pytest.raises(InUse, match="a fault of this test"):
                perform(settings, holdfast.catalog, assessment, checkpoint=fail)
            running.wait_for_more()
            assert running.verify() > 0
        receipt = holdfast.receipts("data")[0]
        assert receipt.outcome.startswith("undone")
        (process,) = receipt.processes
        assert process["pid"] == running.pid
        assert process["handles"]["file"] == {"identical": 4}
        assert receipt.details["notes"] == []


def test_what_is_to_be_said_of_a_handle(settings: Settings, ram_directory: Path) -> None:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    backup = ram_directory / "backup"
    backup.mkdir()
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        with application(path, ram_directory / "record", simple=True) as running:
            receipt = holdfast.restorations.restore(RestoreRequest("data", str(backup)))
        assert receipt is not None
        (note,) = receipt.details["notes"]
        assert note.startswith(f"{running.pid} {path}/log: file-missing")


def test_a_container_that_could_not_be_removed(settings: Settings, ram_directory: Path) -> None:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    new, elsewhere = ram_directory / "2.img", ram_directory / "elsewhere"
    elsewhere.mkdir()
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        request = AssessRequest("data", None, (f"file:{new}",), filesystem="ext4")

        def fail(place: str) -> None:
            if place == "in remount":
                options = "loop,ro,noload"
                subprocess.run(["mount", "-o", options, str(new), str(elsewhere)], check=True)
                raise InUse("a fault of this test")

        try:
            assessment = holdfast.restorations.assess(request)
            with pytest.raises(InUse, match="a fault of this test"):
                perform(settings, holdfast.catalog, assessment, checkpoint=fail)
        finally:
            subprocess.run(["umount", str(elsewhere)], check=True)
        assert new.exists()
        told = holdfast.receipts("data")[0].details["removed"]
        assert f"file:{new} could not be removed: " in told
        assert holdfast.restorations.in_progress("data") is None
