"""Everything goes on beside a stranger's storage that hangs, in bounded time.

A loop device is attached to an image on a stranger's server: tools that look through all loop
devices, or all mounts, of the host ask it and wait. Where the server is mounted, if it is, cannot
be seen from here.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import RunHoldfast
from tests.faults.hanging_loop import Where, hanging_loop
from tests.faults.mounting import mount_image, unmount

SECONDS = 100.0
"""For one command; each takes a few on a host that is busy with other things."""

Ask = Callable[..., str]


@pytest.fixture
def image(ram_directory: Path) -> Path:
    """With an ext4. Made before the stranger comes: mkfs looks through all mounts for an image."""
    path = ram_directory / "0.img"
    with path.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(path)], check=True)
    return path


@pytest.fixture(params=list(Where), ids=[where.name for where in Where])
def ask(
    image: Path, disk_directory: Path, run_holdfast: RunHoldfast, request: pytest.FixtureRequest
) -> Iterator[Ask]:
    """What a command says that must succeed beside the stranger."""

    def run(*words: object) -> str:
        return str(run_holdfast(*words, timeout_seconds=SECONDS).stdout)

    folder = disk_directory / "stranger"
    folder.mkdir()
    with hanging_loop(folder, request.param):
        yield run


@pytest.mark.parametrize(
    ("ask", "filesystem"),
    [
        (Where.HERE, "btrfs"),
        (Where.MOUNTED, "ext4"),
        (Where.MOUNTED, "xfs"),
        (Where.ELSEWHERE, "ext4"),
        (Where.NOWHERE, "btrfs"),
    ],
    indirect=["ask"],
)
def test_the_life_of_a_volume(ask: Ask, ram_directory: Path, filesystem: str) -> None:
    mount = ram_directory / "mnt"
    first, second, third, fourth = (_empty(ram_directory / f"{number}.img") for number in "1234")
    try:
        where = ("--size", "320M", "--fs", filesystem, "--mount", mount)
        ask("volume", "create", "shop", *where, "--leg", first)
        (mount / "file").write_text("content")
        ask("leg", "add", "shop", second)
        ask("leg", "replace", "shop", "1", third)
        with (mount / "file").open() as kept:
            assert "healthy" in ask("status")
            assert "file" in ask("users", "shop")
            ask("assess", "shop")
            ask("migrate", "shop", "--leg", fourth, "--yes")
            assert kept.read() == "content"
        ask("volume", "resize", "shop", "384M")
        ask("volume", "detach", "shop")
        ask("volume", "attach", "shop")
        ask("recover")
        assert (mount / "file").read_text() == "content"
    finally:
        ask("volume", "delete", "shop", "--yes")


def _empty(path: Path) -> str:
    """The URL of an image that is there already, so that it is looked for who uses it."""
    with path.open("wb") as file:
        file.truncate(512 << 20)
    return f"file:{path}"


def test_the_life_of_an_adopted_volume(ask: Ask, image: Path, ram_directory: Path) -> None:
    mount, contents = (ram_directory / name for name in ("mnt", "contents"))
    for folder in (mount, contents):
        folder.mkdir()
    (contents / "file").write_text("other content")
    mount_image(image, mount)
    try:
        (mount / "file").write_text("content")
        ask("volume", "adopt", "data", mount)
        assert "healthy" in ask("status")
        ask("volume", "detach", "data")
        ask("volume", "attach", "data")
        ask("migrate", "data", _empty(ram_directory / "1.img"), "--yes")
        assert (mount / "file").read_text() == "content"
        ask("restore", "data", "--from", contents, "--to", _empty(ram_directory / "2.img"), "--yes")
        assert (mount / "file").read_text() == "other content"
        ask("recover")
        ask("volume", "detach", "data")
    finally:
        unmount(mount)


def test_doctor(ask: Ask) -> None:
    assert "loop devices" in ask("doctor")
