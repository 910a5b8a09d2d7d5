"""Somebody gives the image's name to a copy of it while a mount is to get its gate, or to move: all
go on on the image that they have, whatever it is called."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import HoldsData, InUse, StorageFailed
from holdfast.restoration.performing.perform import perform
from holdfast.service import GateRequest, Holdfast
from holdfast.system.mounts.mount_table import mount_at
from holdfast.system.storage.loop import loop_device_at
from tests.kernel.restoration.bench import Application, application, detach_loops_in, is_settled
from tests.kernel.restoration.in_place.bench import IMAGE, plain_mount


@pytest.mark.parametrize("how", ["renamed", "replaced"])
def test_they_go_on_where_they_are(settings: Settings, ram_directory: Path, how: str) -> None:
    """A gate that would stay in place, whose leg nobody would find again."""
    with plain_mount(ram_directory, IMAGE) as (image, path), Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))

        def exchange(place: str) -> None:
            if place == "before dismount":
                shutil.copy(image, ram_directory / "copy.img")
                if how == "renamed":
                    image.rename(ram_directory / "other.img")
                (ram_directory / "copy.img").rename(image)

        try:
            with application(path, ram_directory / "record") as running:
                found = holdfast.restorations.assess(GateRequest("data", (), in_place=True))
                with pytest.raises(StorageFailed, match="is not the name of the image"):
                    perform(settings, holdfast.catalog, found, checkpoint=exchange)
                verify(holdfast, running)
        finally:
            end(holdfast, ram_directory)


def test_an_undo_takes_the_device_and_not_the_name(settings: Settings, ram_directory: Path) -> None:
    with plain_mount(ram_directory, IMAGE) as (image, path), Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))

        def exchange(place: str) -> None:
            if place == "before dismount":
                shutil.copy(image, ram_directory / "copy.img")
                image.rename(ram_directory / "other.img")
                (ram_directory / "copy.img").rename(image)
            if place == "before restore":
                raise InUse("a fault of this test")

        try:
            with application(path, ram_directory / "record") as running:
                url = f"file:{ram_directory}/leg.img"
                found = holdfast.restorations.assess(GateRequest("data", (url,)))
                with pytest.raises(InUse, match="a fault of this test"):
                    perform(settings, holdfast.catalog, found, checkpoint=exchange)
                mounted = mount_at(path)
                loop = loop_device_at(mounted.source) if mounted is not None else None
                assert loop is not None
                assert loop.backing_file == str(ram_directory / "other.img")
                verify(holdfast, running)
        finally:
            end(holdfast, ram_directory)


def verify(holdfast: Holdfast, running: Application) -> None:
    """All go on; nothing that was acknowledged is lost."""
    assert holdfast.recover() == []
    assert holdfast.show_volume("data").kind == "adopted"
    assert is_settled(running.pid)
    running.wait_for_more()
    assert running.progress()[1] == 0
    assert running.verify() > 0


def end(holdfast: Holdfast, folder: Path) -> None:
    """Forget the volume, unless only its mount leads to what it has."""
    with suppress(HoldsData):
        holdfast.detach_volume("data")
        holdfast.delete_volume("data")
    detach_loops_in(folder)
