"""A leg, spare or new container that stands on the volume itself, in every way that is seen."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import OwnLeg
from holdfast.volumes.checks.foundation import check_not_own_leg, foundation_of
from tests.faults.mounting import mount_image
from tests.kernel.volume.stack import volume, wish

Way = Callable[[Path, Path, ExitStack], Path]
"""(the volume's mount, a folder elsewhere, what undoes it) → a folder that stands on the volume."""


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _mounted(stack: ExitStack, place: Path, *arguments: str) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    _run("mount", *arguments, str(place))
    stack.callback(_run, "umount", str(place))
    return place


def _overlay(inside: Path, outside: Path, stack: ExitStack) -> Path:
    for name in ("up", "work"):
        (inside / name).mkdir()
    (outside / "low").mkdir()
    options = f"lowerdir={outside}/low,upperdir={inside}/up,workdir={inside}/work"
    return _mounted(stack, outside / "overlay", "-t", "overlay", "-o", options, "none")


def _odd_overlay(inside: Path, outside: Path, stack: ExitStack) -> Path:
    odd = inside / "a b:c,d"
    odd.mkdir()
    (outside / "low").mkdir()
    words = str(odd).replace(":", r"\:").replace(",", r"\,")
    options = f"lowerdir={words}:{outside}/low"
    return _mounted(stack, outside / "overlay", "-t", "overlay", "-o", options, "none")


def _overlay_on_overlay(inside: Path, outside: Path, stack: ExitStack) -> Path:
    first = _overlay(inside, outside, stack)
    options = f"lowerdir={first}:{outside}/low"
    return _mounted(stack, outside / "second", "-t", "overlay", "-o", options, "none")


def _bind(inside: Path, outside: Path, stack: ExitStack) -> Path:
    (inside / "folder").mkdir()
    return _mounted(stack, outside / "bound", "--bind", str(inside / "folder"))


def _loop(inside: Path, outside: Path, stack: ExitStack) -> Path:
    image = inside / "inner.img"
    with image.open("wb") as file:
        file.truncate(16 << 20)
    _run("mkfs.ext4", "-q", str(image))
    place = outside / "inner"
    place.mkdir(parents=True)
    mount_image(image, place)
    stack.callback(_run, "umount", str(place))
    return place


def _bind_of_an_overlay(inside: Path, outside: Path, stack: ExitStack) -> Path:
    return _mounted(stack, outside / "bound", "--bind", str(_overlay(inside, outside, stack)))


def _btrfs_of_two(inside: Path, outside: Path, stack: ExitStack) -> Path:
    devices = []
    for folder in (outside, inside):
        image = folder / "member.img"
        with image.open("wb") as file:
            file.truncate(120 << 20)
        devices.append(_run("losetup", "--find", "--show", str(image)))
        stack.callback(_run, "losetup", "--detach", devices[-1])
    _run("mkfs.btrfs", "-q", "-d", "single", "-m", "single", *devices)
    options = f"device={devices[1]}"
    return _mounted(stack, outside / "btrfs", "-t", "btrfs", "-o", options, devices[0])


@contextmanager
def _standing(way: Way, inside: Path, outside: Path) -> Iterator[Path]:
    outside.mkdir()
    with ExitStack() as stack:
        yield way(inside, outside, stack)


@pytest.mark.parametrize(
    "way",
    [_overlay, _odd_overlay, _overlay_on_overlay, _bind, _bind_of_an_overlay, _loop, _btrfs_of_two],
)
def test_a_container_on_the_volume_itself_is_refused(
    settings: Settings, ram_directory: Path, way: Way
) -> None:
    with volume(settings, wish(ram_directory, size_bytes=160 << 20)) as made:
        inside = Path(made.mount.path)
        with _standing(way, inside, ram_directory / "outside") as place:
            with pytest.raises(OwnLeg):
                check_not_own_leg(settings, made.name, made.mount.path, f"file:{place}/leg.img")
            assert made.name in foundation_of(settings, str(place)).volumes
        check_not_own_leg(settings, made.name, made.mount.path, f"file:{ram_directory}/leg.img")
