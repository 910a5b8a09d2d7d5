"""Everything goes on beside a stranger's mount whose server hangs, in bounded time.

The server serves an image, too, that a loop device is attached to: tools that look through all loop
devices, or all mounts, of the host ask it and wait.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import RunHoldfast
from tests.faults.fuse_tree import FuseTree

SECONDS = 100.0
"""For one command; each takes a few on a host that is busy with other things."""


@pytest.fixture
def strangers_mount(disk_directory: Path) -> Iterator[Path]:
    served, path = disk_directory / "served", disk_directory / "tree"
    for folder in (served, path):
        folder.mkdir()
    with (served / "their.img").open("wb") as file:
        file.truncate(32 << 20)
    with FuseTree(served, path) as tree:
        command = ["losetup", "--find", "--show", str(path / "their.img")]
        device = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        try:
            tree.stop()
            yield path
        finally:
            tree.kill()
            subprocess.run(["losetup", "--detach", device], check=True)


@pytest.mark.parametrize("filesystem", ["ext4", "btrfs"])
def test_the_life_of_a_volume(
    strangers_mount: Path, run_holdfast: RunHoldfast, ram_directory: Path, filesystem: str
) -> None:
    mount = ram_directory / "mnt"

    def ask(*words: object) -> str:
        return str(run_holdfast(*words, timeout_seconds=SECONDS).stdout)

    try:
        where = ("--size", "320M", "--fs", filesystem, "--mount", mount)
        ask("volume", "create", "shop", *where, "--leg", f"file:{ram_directory}/1.img")
        (mount / "file").write_text("content")
        with (mount / "file").open() as kept:
            assert "healthy" in ask("status")
            assert "file" in ask("users", "shop")
            ask("assess", "shop")
            ask("migrate", "shop", "--leg", f"file:{ram_directory}/2.img", "--yes")
            assert kept.read() == "content"
        ask("volume", "resize", "shop", "384M")
        ask("volume", "detach", "shop")
        ask("volume", "attach", "shop")
        ask("recover")
        assert (mount / "file").read_text() == "content"
    finally:
        ask("volume", "delete", "shop", "--yes")


def test_doctor(strangers_mount: Path, run_holdfast: RunHoldfast) -> None:
    assert "loop devices" in run_holdfast("doctor", timeout_seconds=SECONDS).stdout
