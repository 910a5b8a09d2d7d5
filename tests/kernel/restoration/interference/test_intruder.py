"""Somebody mounts something while the volume is away: it is undone, named, and nothing is lost."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import InUse
from holdfast.model.plan import Strategy
from holdfast.restoration.performing.perform import perform
from holdfast.service import AssessRequest, Holdfast
from holdfast.system.mounts.mount_table import mount_at
from tests.kernel.restoration.bench import application, make_image, mounted

_LIBC = ctypes.CDLL(None, use_errno=True)


def mount_now(source: str, path: Path, filesystem: str) -> None:
    """mount(2): mount(8) looks at the path before, and would wait."""
    done = _LIBC.mount(source.encode(), os.fsencode(path), filesystem.encode(), 0, None)
    assert done == 0, os.strerror(ctypes.get_errno())


@pytest.fixture
def elsewhere(ram_directory: Path) -> Iterator[Path]:
    path = ram_directory / "elsewhere"
    path.mkdir()
    yield path
    subprocess.run(["umount", str(path)], check=False, capture_output=True)


@pytest.mark.parametrize(
    ("what", "when"),
    [
        ("a stranger", "before restore"),
        ("a stranger", "before remount"),
        ("the old device", "before restore"),
        ("the old device elsewhere", "before restore"),
    ],
)
def test_it_is_undone_and_named(
    settings: Settings, ram_directory: Path, elsewhere: Path, what: str, when: str
) -> None:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    loop = subprocess.run(
        ["losetup", "--find", "--show", str(image)], check=True, capture_output=True, text=True
    ).stdout.strip()
    with mounted(loop, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        old = mount_at(path)
        assert old is not None
        acts: dict[str, Callable[[], None]] = {
            "a stranger": lambda: mount_now("stranger", path, "tmpfs"),
            "the old device": lambda: mount_now(old.source, path, "ext4"),
            "the old device elsewhere": lambda: mount_now(old.source, elsewhere, "ext4"),
        }
        done = []

        def checkpoint(place: str) -> None:
            if place == when and not done:
                done.append(place)
                acts[what]()

        new = ram_directory / "2.img"
        with application(path, ram_directory / "record") as running:
            assessment = holdfast.restorations.assess(
                AssessRequest("data", Strategy.MIGRATE, (f"file:{new}",), filesystem="ext4")
            )
            with pytest.raises(InUse, match="by somebody else") as caught:
                perform(settings, holdfast.catalog, assessment, checkpoint=checkpoint)
            name = "stranger" if what == "a stranger" else old.source
            assert f"{name} " in caught.value.message
            there = mount_at(path)
            assert there is not None
            assert there.filesystem == "ext4", "the old storage is not where it was"
            running.wait_for_more()
            running.verify()
        assert not new.exists()
        assert holdfast.recover() == []
        if what == "a stranger":  # it lies below the volume now
            subprocess.run(["umount", str(path)], check=True)
            subprocess.run(["umount", str(path)], check=True)
            assert not path.is_mount(), "a cover is left"
