"""What a copy keeps of files besides contents and attributes, and what it says it does not."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from holdfast.restoration.copying.passes import Replica
from tests.kernel.restoration.bench import SIZE_BYTES, make_image, mounted

GET, SET = 0x801C581F, 0x401C5820  # FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR


@contextmanager
def two_file_systems(folder: Path, source: str, target: str) -> Iterator[tuple[Path, Path]]:
    with ExitStack() as stack:
        found = []
        for name, filesystem in (("source", source), ("target", target)):
            place = folder / f"of-{name}"
            place.mkdir()
            image = make_image(place / "image", filesystem, SIZE_BYTES)
            found.append(stack.enter_context(mounted(image, place / name)))
        yield found[0], found[1]


def sync(path: Path) -> None:
    subprocess.run(["sync", "--file-system", str(path)], check=True)


def replica_of(source: Path, target: Path) -> Replica:
    return Replica(os.fsencode(source), os.fsencode(target), partial(sync, source))


@contextmanager
def copied(source: Path, target: Path) -> Iterator[dict[str, int]]:
    """After two passes and the last touch; flags that are in the way of `rm` go in the end."""
    replica = replica_of(source, target)
    try:
        replica.run_pass()
        assert replica.run_pass(verify=True).differences == []
        replica.set_late_flags()
        yield replica.not_kept()
    finally:
        for folder in (source, target):
            subprocess.run(["chattr", "-R", "-f", "-ia", str(folder)], check=False)


def chattr(flags: str, *paths: Path) -> None:
    subprocess.run(["chattr", flags, *map(str, paths)], check=True)


def flags_of(path: Path) -> str:
    command = ["lsattr", "-d", str(path)]
    words = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0]
    return words.replace("-", "").replace("e", "")


def project(path: Path, number: int | None = None) -> int:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        words = list(struct.unpack("=5I8x", fcntl.ioctl(descriptor, GET, bytes(28))))
        if number is not None:
            words[3] = number
            fcntl.ioctl(descriptor, SET, struct.pack("=5I8x", *words))
        return words[3]
    finally:
        os.close(descriptor)


def test_every_flag_that_the_target_takes_is_kept(ram_directory: Path) -> None:
    with two_file_systems(ram_directory, "ext4", "ext4") as (source, target):
        (source / "folder").mkdir()
        for name, flags in {"file": "+suSctdAi", "log": "+a", "folder": "+TDd"}.items():
            path = source / name
            if name != "folder":
                path.write_bytes(b"x")
            chattr(flags, path)
        (source / "folder/within").write_bytes(b"x")
        chattr("-dD", source / "folder/within")  # had it from its folder
        with copied(source, target) as not_kept:
            for name in ("file", "log", "folder", "folder/within"):
                assert flags_of(target / name) == flags_of(source / name), name
            assert not_kept == {}


def test_flags_that_the_target_does_not_know_are_counted(ram_directory: Path) -> None:
    with two_file_systems(ram_directory, "ext4", "xfs") as (source, target):
        for name in ("one", "two"):
            (source / name).write_bytes(b"x")
            chattr("+ti", source / name)
        with copied(source, target) as not_kept:
            assert flags_of(target / "one") == "i"
            assert not_kept == {"chattr flag t": 2}


def test_btrfs_keeps_what_only_an_empty_file_takes(ram_directory: Path) -> None:
    with two_file_systems(ram_directory, "btrfs", "btrfs") as (source, target):
        (source / "folder").mkdir()
        (source / "folder/within").write_bytes(b"x" * 10_000)
        chattr("+C", source / "folder")
        (source / "database").touch()
        chattr("+C", source / "database")
        (source / "database").write_bytes(b"x" * 100_000)
        (source / "text").touch()
        os.setxattr(source / "text", "btrfs.compression", b"zstd")
        (source / "text").write_bytes(b"x" * 1_000_000)
        with copied(source, target) as not_kept:
            for name in ("folder", "folder/within", "database", "text"):
                assert flags_of(target / name) == flags_of(source / name), name
            assert os.getxattr(target / "text", "btrfs.compression") == b"zstd"
            assert not_kept == {}
            sync(target)
            extents = subprocess.run(
                ["filefrag", "-v", str(target / "text")], check=True, capture_output=True, text=True
            ).stdout
            assert "encoded" in extents, "its contents were not compressed"


@pytest.mark.parametrize("filesystem", ["ext4", "xfs"])
def test_btrfs_properties_that_are_lost_are_counted(ram_directory: Path, filesystem: str) -> None:
    with two_file_systems(ram_directory, "btrfs", filesystem) as (source, target):
        (source / "database").touch()
        chattr("+C", source / "database")
        os.link(source / "database", source / "second name")
        (source / "text").touch()
        os.setxattr(source / "text", "btrfs.compression", b"zstd")
        with copied(source, target) as not_kept:
            assert not_kept["chattr flag C (not copied on write)"] == 1
            assert not_kept["attribute btrfs.compression: Operation not supported"] == 1


def test_xfs_keeps_project_ids(ram_directory: Path) -> None:
    with two_file_systems(ram_directory, "xfs", "xfs") as (source, target):
        folder = source / "folder"
        folder.mkdir()
        project(folder, 42)
        chattr("+P", folder)
        (folder / "within").write_bytes(b"x")
        (source / "without").write_bytes(b"x")
        replica = replica_of(source, target)
        replica.run_pass()
        (folder / "later").write_bytes(b"x")
        (source / "without").rename(source / "renamed")
        project(folder / "within", 7)
        with copied(source, target) as not_kept:
            found = {name: project(target / name) for name in ("folder", "folder/within")}
            assert found == {"folder": 42, "folder/within": 7}
            assert project(target / "folder/later") == 42
            assert project(target / "renamed") == 0
            assert flags_of(target / "folder") == "P"
            assert not_kept == {}


def test_project_ids_that_are_lost_are_counted(ram_directory: Path) -> None:
    with two_file_systems(ram_directory, "xfs", "ext4") as (source, target):
        for name in ("one", "two", "three"):
            (source / name).write_bytes(b"x")
        project(source / "one", 1)
        project(source / "two", 2)
        with copied(source, target) as not_kept:
            assert not_kept == {"project id": 2}


def test_allocation_hints_are_counted(ram_directory: Path) -> None:
    with two_file_systems(ram_directory, "xfs", "xfs") as (source, target):
        (source / "file").touch()
        subprocess.run(["xfs_io", "-c", "extsize 64k", str(source / "file")], check=True)
        with copied(source, target) as not_kept:
            assert not_kept == {"allocation hints of XFS": 1}


@pytest.mark.parametrize("filesystem", ["btrfs", "xfs"])
def test_shared_extents_are_counted(ram_directory: Path, filesystem: str) -> None:
    with two_file_systems(ram_directory, filesystem, "ext4") as (source, target):
        (source / "one").write_bytes(os.urandom(1 << 20))
        (source / "alone").write_bytes(os.urandom(1 << 20))
        command = ["cp", "--reflink=always", str(source / "one"), str(source / "two")]
        subprocess.run(command, check=True)
        sync(source)
        replica = replica_of(source, target)
        replica.run_pass()
        (source / "two").rename(source / "renamed")
        replica.run_pass()
        assert replica.not_kept() == {
            "files with shared extents": 2,
            "bytes of shared extents": 2 << 20,
        }
        assert (target / "renamed").stat().st_blocks * 512 >= 1 << 20


def test_subvolumes_become_directories_with_everything_in_them(ram_directory: Path) -> None:
    with two_file_systems(ram_directory, "btrfs", "ext4") as (source, target):
        for name in ("outer", "outer/inner"):
            create = ["btrfs", "-q", "subvolume", "create", str(source / name)]
            subprocess.run(create, check=True)
            (source / name / "file").write_text(name)
        snapshot = ["btrfs", "-q", "subvolume", "snapshot", "-r", "outer", "snapshot"]
        subprocess.run(snapshot, cwd=source, check=True)
        with copied(source, target) as not_kept:
            assert (target / "outer/inner/file").read_text() == "outer/inner"
            assert (target / "snapshot/file").read_text() == "outer"
            assert list((target / "snapshot/inner").iterdir()) == []
            assert not_kept["btrfs subvolume (a directory now)"] == 3


def test_what_is_gone_is_not_counted(ram_directory: Path) -> None:
    with two_file_systems(ram_directory, "ext4", "xfs") as (source, target):
        (source / "one").write_bytes(b"x")
        chattr("+t", source / "one")
        replica = replica_of(source, target)
        replica.run_pass()
        assert replica.not_kept() == {"chattr flag t": 1}
        (source / "one").unlink()
        replica.run_pass()
        assert replica.not_kept() == {}
