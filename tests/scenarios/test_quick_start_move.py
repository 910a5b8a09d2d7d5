"""README's second block, run exactly as it stands there: a mount is moved under its application."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.system.storage.loop import LoopDevice, detach_loop, loop_devices_of
from tests.conftest import REPOSITORY

MOUNT = Path("/srv/notes")
IMAGES = (Path("/var/tmp/notes-old.img"), Path("/var/tmp/notes-new.img"))
BLOCK_SECONDS = 300.0


@pytest.fixture
def nothing_there(holdfast_home: Path) -> Iterator[Path]:
    """The block's own paths are free before, and free again when it failed half-way."""
    for path in (MOUNT, *IMAGES):
        assert not path.exists(), f"{path} is in the way: what README's second block makes"
    yield holdfast_home
    if MOUNT.is_mount():
        subprocess.run(["umount", str(MOUNT)], check=False)
    if MOUNT.exists() and not MOUNT.is_mount():
        MOUNT.rmdir()
    for loop in attached():
        detach_loop(loop)
    for path in Path("/var/tmp").glob("notes-*.img*"):
        path.unlink()


def attached() -> list[LoopDevice]:
    """Loop devices of the images, which may be deleted by now."""
    return [loop for image in IMAGES for loop in loop_devices_of(image)]


def block() -> str:
    """The block of commands under the heading."""
    text = (REPOSITORY / "README.md").read_text()
    match = re.search(r"^## Move a mount .*?^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert match, "README has no block of commands that moves a mount"
    return match[1]


def test_adopt_look_move(nothing_there: Path) -> None:
    shown = subprocess.run(
        ["bash", "-e"],
        input=block(),
        capture_output=True,
        text=True,
        check=False,
        timeout=BLOCK_SECONDS,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert re.search(r"bash \(process \d+\)", shown.stdout), "users must name the application"
    assert re.search(r"^file system +xfs ", shown.stdout, re.MULTILINE), shown.stdout
    said = re.search(r"(\d+) process(?:es)? waited [\d.]+ m?s; .*handles? identical", shown.stderr)
    assert said, shown.stderr
    assert "date: " not in shown.stderr, "the application saw an error"
    assert not MOUNT.exists()
    assert not list(Path("/var/tmp").glob("notes-*"))
    assert not attached(), "an image is still attached to a loop device"


def test_it_takes_four_commands() -> None:
    lines = block().split("# Clean up")[0].splitlines()
    commands = [line.split()[1] for line in lines if line.startswith("holdfast ")]
    assert commands == ["volume", "users", "migrate", "volume"]
