"""On btrfs, users of subvolumes are found, although stat(2) gives each a device of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.model.handle import HandleKind
from tests.faults.mounting import mount_image
from tests.kernel.users.programs import handles_of

SOURCE = """
f = os.open(point + '/sub/f', os.O_CREAT | os.O_RDWR)
os.ftruncate(f, mmap.PAGESIZE)
libc.mmap.restype = ctypes.c_void_p
libc.mmap(None, mmap.PAGESIZE, 1, mmap.MAP_SHARED, f, ctypes.c_long(0))
i = libc.inotify_init1(0)
libc.inotify_add_watch(i, os.fsencode(point + '/sub'), 0x100)
s = socket.socket(socket.AF_UNIX)
s.bind(point + '/sub/s')
os.chdir(point + '/sub')
"""


def _run(*command: object) -> None:
    words = [str(word) for word in command]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.fixture
def volume(ram_directory: Path) -> Iterator[Path]:
    image, folder = ram_directory / "image", ram_directory / "m"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(128 << 20)
    _run("mkfs.btrfs", "--quiet", image)
    mount_image(image, folder)
    _run("btrfs", "subvolume", "create", folder / "sub")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_every_kind_in_a_subvolume(volume: Path) -> None:
    handles = {handle.kind: handle for handle in handles_of(SOURCE, volume)}
    assert {kind: handle.inside for kind, handle in handles.items()} == {
        HandleKind.FILE: "sub/f",
        HandleKind.MAP: "sub/f",
        HandleKind.INOTIFY: "sub",
        HandleKind.SOCKET: "sub/s",
        HandleKind.WORKING_DIRECTORY: "sub",
    }
    assert handles[HandleKind.MAP].inode == handles[HandleKind.FILE].inode
    assert (volume / "sub").stat().st_dev != volume.stat().st_dev


def test_a_subvolume_that_is_mounted_by_itself(volume: Path, tmp_path: Path) -> None:
    device = subprocess.check_output(["findmnt", "-no", "SOURCE", volume], text=True).strip()
    subprocess.run(["mount", "-o", "subvol=sub", device, tmp_path], check=True)
    try:
        handles = handles_of("f = open(point + '/f', 'w')", tmp_path)
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert [(each.path, each.inside) for each in handles] == [(f"{tmp_path}/f", "sub/f")]
