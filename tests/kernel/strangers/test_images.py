"""What a user who is not root has put in place beforehand is neither a leg nor a lock."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import AlreadyExists, Untrusted
from holdfast.service import Holdfast, MigrateRequest
from holdfast.volumes.attach import attach_volume
from holdfast.volumes.create import create_volume
from holdfast.volumes.detach import detach_volume
from tests.kernel.restoration.bench import make_image, mounted
from tests.kernel.volume.stack import volume, wish

NOBODY = 65534


@pytest.fixture
def public(ram_directory: Path) -> Path:
    """A folder as /var/tmp is."""
    folder = ram_directory / "public"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


def _strangers(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(200 << 20)
    os.chown(path, NOBODY, NOBODY)


def _to_be_written(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(200 << 20)
    path.chmod(0o666)


def _of_two_names(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(200 << 20)
    path.with_name("other").hardlink_to(path)


def _link(path: Path) -> None:
    target = path.with_name("precious")
    target.touch()
    path.symlink_to(target)


@pytest.mark.parametrize("make", [_strangers, _to_be_written, _of_two_names, _link])
def test_it_does_not_become_a_leg(
    settings: Settings, ram_directory: Path, public: Path, make: Callable[[Path], None]
) -> None:
    image = public / "shop.img"
    make(image)
    with pytest.raises(Untrusted):
        create_volume(settings, wish(ram_directory, f"file:{image}"))
    with volume(settings, wish(ram_directory)) as made, Holdfast(settings) as holdfast:
        with suppress(AlreadyExists):  # found already by its gate, which runs
            holdfast.catalog.add(made)
        with pytest.raises(Untrusted):
            holdfast.legs.add(made.name, f"file:{image}")
        with pytest.raises(Untrusted):
            holdfast.legs.add(made.name, f"file:{image}", spare=True)


def test_a_leg_that_was_exchanged_is_not_attached(
    settings: Settings, ram_directory: Path, public: Path
) -> None:
    image = public / "shop.img"
    with volume(settings, wish(ram_directory, f"file:{image}")) as made:
        detach_volume(settings, made)
        os.chown(image, NOBODY, NOBODY)
        try:
            with pytest.raises(Untrusted, match="belongs to user"):
                attach_volume(settings, made)
        finally:
            os.chown(image, 0, 0)


@pytest.mark.parametrize("kind", ["fifo", "hard link", "link"])
def test_what_lies_in_place_of_the_lock_is_not_touched(
    settings: Settings, ram_directory: Path, public: Path, kind: str
) -> None:
    precious = public / "precious"
    precious.write_text("precious")
    lock = public / "2.img.holdfast-lock"
    if kind == "fifo":
        os.mkfifo(lock)
    elif kind == "link":
        lock.symlink_to(precious)
    else:
        lock.hardlink_to(precious)
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        (path / "file").write_text("kept")
        holdfast.adopt_volume("data", str(path))
        with pytest.raises(Untrusted):
            holdfast.restorations.migrate(MigrateRequest("data", (f"file:{public}/2.img",)))
        assert precious.read_text() == "precious"
        assert (path / "file").read_text() == "kept"
        assert not (public / "2.img").exists()
