"""What the kernel itself holds is found: loop devices, mounts on top, layers of overlays, swap."""

from __future__ import annotations

import subprocess
from pathlib import Path

from holdfast.applications.kernel_users import held_by_kernel
from holdfast.model.handle import HandleKind
from tests.faults.mounting import mount, mount_image, unmount
from tests.kernel.users.programs import mounts_at, only, point

__all__ = ["point"]


def run(*command: object) -> str:
    return subprocess.run(
        [str(part) for part in command], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_an_idle_volume(point: Path) -> None:
    assert held_by_kernel(mounts_at(point)) == []


def test_a_loop_device(point: Path) -> None:
    with (point / "image").open("wb") as file:
        file.truncate(1 << 20)
    device = run("losetup", "--find", "--show", point / "image")
    try:
        handle = only(tuple(held_by_kernel(mounts_at(point))))
    finally:
        run("losetup", "--detach", device)
    assert (handle.kind, handle.pid, handle.inside) == (HandleKind.LOOP, 0, "image")
    assert handle.path == f"{device} of {point}/image"


def test_a_mount_on_top(point: Path) -> None:
    inner = point / "d" / "inner"
    inner.mkdir(parents=True)
    mount("inner", inner, "tmpfs", "size=1048576")
    try:
        handle = only(tuple(held_by_kernel(mounts_at(point))))
    finally:
        unmount(inner)
    assert (handle.kind, handle.path, handle.inside) == (HandleKind.MOUNT, str(inner), "d/inner")


def test_a_layer_of_an_overlay(point: Path, tmp_path: Path) -> None:
    (point / "lower").mkdir()
    (tmp_path / "top").mkdir()
    mount("over", tmp_path / "top", "overlay", f"lowerdir={point}/lower:{tmp_path}")
    try:
        handle = only(tuple(held_by_kernel(mounts_at(point))))
    finally:
        unmount(tmp_path / "top")
    assert (handle.kind, handle.inside) == (HandleKind.OTHER, "lower")
    assert f"overlay mounted at {tmp_path}/top" in handle.path


def test_a_swap_file(disk_directory: Path) -> None:
    image, folder = disk_directory / "image", disk_directory / "mounted"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(32 << 20)
    run("mkfs.ext4", "-q", image)
    mount_image(image, folder)
    try:
        swap = folder / "swap"
        run("dd", "if=/dev/zero", f"of={swap}", "bs=1M", "count=2")
        swap.chmod(0o600)
        run("mkswap", swap)
        run("swapon", swap)
        try:
            found = held_by_kernel(mounts_at(folder))
        finally:
            run("swapoff", swap)
    finally:
        run("umount", folder)
    assert [(each.kind, each.inside) for each in found] == [(HandleKind.SWAP, "swap")]
