"""A stranger's mount whose server died keeps nobody from making a file system."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from holdfast.model.volume import FILE_SYSTEMS
from holdfast.system.storage.filesystem import identify, make_filesystem
from tests.faults.fuse_tree import FuseTree
from tests.faults.mounting import mount_image

UUID = "01234567-89ab-cdef-0123-456789abcdef"


@pytest.mark.parametrize("filesystem", FILE_SYSTEMS)
def test_beside_a_loop_device_on_a_dead_server(
    ram_directory: Path, disk_directory: Path, filesystem: str
) -> None:
    served, path, mounted = (disk_directory / name for name in ("served", "tree", "theirs"))
    for folder in (served, path, mounted):
        folder.mkdir()
    with (served / "their.img").open("wb") as file:
        file.truncate(32 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(served / "their.img")], check=True)
    ours = ram_directory / "ours.img"
    with ours.open("wb") as file:
        file.truncate(320 << 20)
    with FuseTree(served, path) as tree:
        mount_image(path / "their.img", mounted)
        try:
            tree.kill()
            with pytest.raises(OSError, match=r"."):
                path.stat()
            make_filesystem(filesystem, str(ours), "ours", UUID)
            assert mounted.is_mount()
        finally:
            subprocess.run(["umount", "-l", str(mounted)], check=True)
    found = identify(str(ours))
    assert found is not None
    assert (found.type, found.uuid) == (filesystem, UUID)
