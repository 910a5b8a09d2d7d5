"""An image that is in use and does not open for writing again (`chattr +i`): found before its users
are stopped, because neither the way on nor the way back would mount it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import Blocked, StorageFailed
from holdfast.model.finding import Verdict
from holdfast.service import AssessRequest, Holdfast, MigrateRequest, NewVolume, UngateRequest
from tests.kernel.restoration.bench import application, is_settled, make_image, mounted


@contextmanager
def immutable(*images: Path) -> Iterator[None]:
    """Nobody opens these for writing meanwhile."""
    subprocess.run(["chattr", "+i", *images], check=True)
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", *images], check=True)


def test_of_a_plain_mount(settings: Settings, ram_directory: Path) -> None:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        with application(path, ram_directory / "record") as running, immutable(image):
            with pytest.raises(Blocked, match="does not open for writing again"):
                holdfast.restorations.park("data", 20.0)
            with pytest.raises(Blocked, match="does not open for writing again"):
                request = MigrateRequest("data", (f"file:{ram_directory}/2.img",))
                holdfast.restorations.migrate(request)
            assert is_settled(running.pid)
            running.wait_for_more()
            assert running.verify() > 0
        assert not (ram_directory / "2.img").exists()
        assert holdfast.receipts("data") == []


def test_it_is_detached_and_says_why_it_does_not_come_back(
    settings: Settings, ram_directory: Path
) -> None:
    """Nobody uses it, so nobody waits: whoever made it immutable may want it so."""
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        with immutable(image):
            holdfast.detach_volume("data")
            assert not path.is_mount()
            with pytest.raises(StorageFailed, match="cannot be opened for writing"):
                holdfast.attach_volume("data")
        holdfast.attach_volume("data")
        assert path.is_mount()


def test_of_a_gated_volume(settings: Settings, ram_directory: Path) -> None:
    """One of two legs is told; without the other there is nothing to come back to."""
    legs = [ram_directory / f"{number}.img" for number in (1, 2)]
    urls = tuple(f"file:{leg}" for leg in legs)
    path = str(ram_directory / "mnt")
    with Holdfast(settings) as holdfast:
        holdfast.create_volume(NewVolume("shop", 64 << 20, path, leg_urls=urls))
        try:
            with immutable(legs[1]):
                found = holdfast.restorations.assess(AssessRequest("shop")).plan
                [told] = [each for each in found.findings if each.subject == str(legs[1])]
                assert told.verdict is Verdict.LIMITED
            with immutable(*legs), pytest.raises(Blocked, match="does not open for writing"):
                request = UngateRequest("shop", f"file:{ram_directory}/plain.img")
                holdfast.restorations.change_kind(request)
        finally:
            holdfast.delete_volume("shop")
