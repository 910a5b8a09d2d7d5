"""What the kernel itself holds is found: loop devices, mounts on top, layers of overlays, swap."""

from __future__ import annotations

import subprocess
from pathlib import Path

from holdfast.applications.kernel_users import held_by_kernel
from holdfast.applications.places import places_of
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


def test_what_only_has_a_path_that_leads_there_elsewhere(point: Path, disk_directory: Path) -> None:
    """Somebody has the volume mounted in a namespace of his own where this host has its images."""
    images = disk_directory / "images"
    images.mkdir()
    for name in ("image", "swap"):
        run("dd", "if=/dev/zero", f"of={images / name}", "bs=1M", "count=2")
    (images / "swap").chmod(0o600)
    run("mkswap", images / "swap")
    bind = f'mount --bind "{point}" "{images}" && echo ready && read word'
    device = run("losetup", "--find", "--show", images / "image")
    run("swapon", images / "swap")
    try:
        with subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", bind], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as somebody:
            assert somebody.stdout is not None
            assert somebody.stdout.readline() == b"ready\n"
            assert str(images) in {each.path for each in places_of(mounts_at(point)).wanted}
            found = held_by_kernel(mounts_at(point))
    finally:
        run("swapoff", images / "swap")
        run("losetup", "--detach", device)
    assert found == []
