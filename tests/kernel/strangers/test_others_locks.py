"""A lock that anybody has on a file of his own is no command that is at work on a volume."""

from __future__ import annotations

import fcntl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.coordination.turn import at_work, turn
from tests.faults.mounting import mount, mount_image, unmount

_MOST_FILES = 1000


def tmpfs(path: Path) -> Path:
    path.mkdir()
    mount("none", path, "tmpfs", "mode=700")
    return path


@pytest.fixture
def places(disk_directory: Path) -> Iterator[tuple[Path, Path]]:
    """A run directory on a tmpfs, and another tmpfs: in each, numbers of inodes begin anew."""
    ours, theirs = tmpfs(disk_directory / "ours"), tmpfs(disk_directory / "theirs")
    try:
        yield ours, theirs
    finally:
        unmount(ours)
        unmount(theirs)


def test_a_file_with_the_same_number_elsewhere(places: tuple[Path, Path]) -> None:
    ours, theirs = places
    with turn(ours, "shop"):
        assert at_work(ours) == {"shop"}
    wanted = (ours / "locks" / "shop.lock").stat().st_ino
    for number in range(_MOST_FILES):
        with (theirs / str(number)).open("w") as file:
            if (theirs / str(number)).stat().st_ino == wanted:
                fcntl.flock(file, fcntl.LOCK_EX)
                assert at_work(ours) == frozenset()
                return
    pytest.skip("this kernel numbers the files of all tmpfs together")


def test_a_file_system_of_which_stat_says_another_device(disk_directory: Path) -> None:
    image, place = disk_directory / "image", disk_directory / "btrfs"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(128 << 20)
    subprocess.run(["mkfs.btrfs", "-q", str(image)], check=True)
    mount_image(image, place)
    try:
        with turn(place, "shop"):
            assert at_work(place) == {"shop"}
        assert at_work(place) == frozenset()
    finally:
        unmount(place)
