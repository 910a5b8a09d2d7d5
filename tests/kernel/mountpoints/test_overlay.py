"""An overlay keeps the file system of its layers: found, or undone, and named."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import Blocked, InUse
from holdfast.model.finding import Verdict
from holdfast.mountpoints.capture import capture
from holdfast.mountpoints.dismount import dismount
from holdfast.service import AssessRequest, Holdfast, MigrateRequest
from tests.kernel.mountpoints.bench import MountBench
from tests.kernel.restoration.bench import make_image, mounted


@pytest.mark.parametrize("how", ["relative", "absolute"])
def test_it_is_named(ram_directory: Path, how: str) -> None:
    with MountBench(ram_directory) as bench:
        path = bench.mount(bench.device("1"), "mnt")
        place = ram_directory / "overlay"
        for folder in (path / "l1", path / "l2", place):
            folder.mkdir()
        layers = "l1:l2" if how == "relative" else f"{path}/l1:{path}/l2"
        command = ["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={layers}", str(place)]
        subprocess.run(command, check=True, cwd=path)
        words = "whose layers" if how == "relative" else f"with a layer in {path}/l"
        try:
            with pytest.raises(InUse, match=f"the overlay at {place}, {words}"):
                dismount(capture(str(path)))
            assert path.is_mount()
        finally:
            subprocess.run(["umount", str(place)], check=True)
        dismount(capture(str(path)))


@pytest.mark.parametrize("how", ["relative", "descriptor"])
@pytest.mark.parametrize("filesystem", ["ext4", "xfs", "btrfs"])
def test_it_is_found_beforehand(
    settings: Settings, ram_directory: Path, filesystem: str, how: str
) -> None:
    image = make_image(ram_directory / "1.img", filesystem)
    stranger = ram_directory / "stranger"
    for folder in ("l1", "l2"):
        (stranger / folder).mkdir(parents=True)
    with (
        mounted(image, ram_directory / "mnt") as path,
        Holdfast(settings) as holdfast,
        overlay(stranger, ram_directory / "other", "relative"),
    ):
        for folder in ("l1", "l2"):
            (path / folder).mkdir()
        (path / "l2/file").touch()
        holdfast.adopt_volume("data", str(path))
        url = f"file:{ram_directory}/2.img"
        with overlay(path, ram_directory / "overlay", how) as place:
            found = holdfast.restorations.assess(AssessRequest("data", urls=(url,))).plan
            told = [each for each in found.findings if each.subject == "the kernel's overlay"]
            assert [each.verdict for each in told] == [Verdict.BLOCKS]
            assert str(place) in told[0].found
            with pytest.raises(Blocked, match="overlay"):
                holdfast.restorations.migrate(MigrateRequest("data", (url,)))
        assert not holdfast.restorations.assess(AssessRequest("data", urls=(url,))).plan.refuses


@contextmanager
def overlay(below: Path, place: Path, how: str) -> Iterator[Path]:
    """A read-only one with l1 on l2, in a folder."""
    place.mkdir()
    layers, folders = "l1:l2", []
    if how == "descriptor":
        folders = [os.open(below / name, os.O_PATH) for name in ("l1", "l2")]
        layers = ":".join(f"/proc/self/fd/{each}" for each in folders)
    command = ["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={layers}", str(place)]
    subprocess.run(command, check=True, cwd=below, pass_fds=folders)
    for each in folders:
        os.close(each)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)
