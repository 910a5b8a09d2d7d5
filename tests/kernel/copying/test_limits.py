"""What the new type of file system cannot hold is told, before anything else is copied."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.errors import Blocked, TooSmall
from holdfast.restoration.copying.limits import LIMITS
from holdfast.restoration.copying.passes import Replica
from tests.kernel.restoration.bench import SIZE_BYTES, make_image, mounted

CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 7, 0, 0, 0)
"""struct vfs_cap_data of <linux/capability.h>, revision 2: cap_setuid=ep."""


@pytest.fixture
def target(ram_directory: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system of the type that the test names."""
    image = make_image(ram_directory / "target.img", request.param, SIZE_BYTES)
    with mounted(image, ram_directory / "target") as path:
        yield path


def replica(source: Path, target: Path, filesystem: str) -> Replica:
    return Replica(os.fsencode(source), os.fsencode(target), lambda: None, filesystem)


@pytest.mark.parametrize("target", ["ext4"], indirect=True)
def test_a_sparse_file_of_17_tib(ram_directory: Path, target: Path) -> None:
    source_image = make_image(ram_directory / "source.img", "xfs", SIZE_BYTES)
    with mounted(source_image, ram_directory / "source") as source:
        (source / "first").write_text("x")
        with (source / "bomb").open("wb") as file:
            file.truncate(17 << 40)
        with pytest.raises(Blocked, match=r"bomb is a file of 17.* ext4 holds none"):
            replica(source, target, "ext4").run_pass()
    assert [path.name for path in target.iterdir()] == ["lost+found"]


@pytest.mark.parametrize("target", ["xfs"], indirect=True)
def test_a_long_symbolic_link(ram_directory: Path, target: Path) -> None:
    source = ram_directory / "source"
    source.mkdir()
    (source / "link").symlink_to("x" * 1024)
    with pytest.raises(Blocked, match="link is a symbolic link of 1024 bytes"):
        replica(source, target, "xfs").run_pass()


@pytest.mark.parametrize("target", ["ext4"], indirect=True)
def test_more_files_than_there_are_inodes(ram_directory: Path, target: Path) -> None:
    source = ram_directory / "source"
    source.mkdir()
    room = os.statvfs(target).f_files
    for number in range(room // 1000 + 1):
        (source / str(number)).mkdir()
        for inner in range(1000):
            os.mknod(source / str(number) / str(inner))
    with pytest.raises(TooSmall, match="inodes"):
        replica(source, target, "ext4").run_pass()


@pytest.mark.parametrize("target", ["ext4", "xfs", "btrfs"], indirect=True)
def test_the_table_of_limits_says_what_is_so(target: Path, request: pytest.FixtureRequest) -> None:
    limits = LIMITS[request.node.callspec.params["target"]]
    most_bytes = limits.bytes_of_a_link or os.statvfs(target).f_bsize - 1
    (target / "longest").symlink_to("x" * most_bytes)
    if most_bytes < 4095:  # PATH_MAX
        with pytest.raises(OSError):
            (target / "longer").symlink_to("x" * (most_bytes + 1))
    if limits.names_of_a_file < 100_000:
        (target / "file").touch()
        for number in range(limits.names_of_a_file - 1):
            if number % 1000 == 0:
                (target / str(number // 1000)).mkdir()
            os.link(target / "file", target / str(number // 1000) / str(number))
        with pytest.raises(OSError):
            os.link(target / "file", target / "one too many")


@pytest.mark.parametrize("target", ["ext4"], indirect=True)
def test_times_that_the_target_cannot_have_are_counted(ram_directory: Path, target: Path) -> None:
    source = ram_directory / "source"
    source.mkdir()
    (source / "future").write_text("x")
    os.utime(source / "future", ns=(0, 40_000_000_000 * 10**9))
    copier = replica(source, target, "ext4")
    assert copier.run_pass(verify=True).differences == []
    assert [words for words in copier.not_kept() if words.startswith("time of")]


@pytest.mark.parametrize("target", ["ext4"], indirect=True)
def test_capabilities_and_set_id_bits_are_kept(ram_directory: Path, target: Path) -> None:
    source = ram_directory / "source"
    source.mkdir()
    for name, mode in {"capable": 0o755, "set-user": 0o4755, "set-group": 0o2711}.items():
        (source / name).write_text("x")
        os.chown(source / name, 1000, 1000)
        (source / name).chmod(mode)
    os.setxattr(source / "capable", "security.capability", CAPABILITY)
    os.setxattr(source / "capable", "trusted.of_root", b"x")
    copier = replica(source, target, "ext4")
    assert copier.run_pass(verify=True).differences == []
    assert os.getxattr(target / "capable", "security.capability") == CAPABILITY
    assert os.getxattr(target / "capable", "trusted.of_root") == b"x"
    assert copier.not_kept() == {}
