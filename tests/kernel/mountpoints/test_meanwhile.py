"""What appears while mounts are being dismounted: another namespace's copy is covered, too, and
what somebody mounts at the very place is named, never mounted upon."""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
from pathlib import Path
from threading import Thread

import pytest

from holdfast.errors import InUse
from holdfast.mountpoints.capture import capture
from holdfast.mountpoints.dismount import dismount
from holdfast.mountpoints.remount import remount
from holdfast.system.fuse.cover import make_covers
from holdfast.system.fuse.cover_server import FILE_SYSTEM, release
from holdfast.system.mounts import mount_api
from holdfast.system.mounts.mount_table import mount_at
from tests.kernel.mountpoints.bench import MountBench, run
from tests.waiting import wait_until

_SECONDS = 10**9


def mount_now(device: str, path: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mount(device.encode(), os.fsencode(path), b"ext4", 0, None) == 0, ctypes.get_errno()


def test_the_same_covers_serve_a_second_round(ram_directory: Path) -> None:
    """As for a namespace that was made in between."""
    with MountBench(ram_directory) as bench:
        paths = [bench.mount(bench.device(name), f"mnt{name}") for name in ("1", "2")]
        covers = make_covers(time.clock_gettime_ns(time.CLOCK_MONOTONIC) + 60 * _SECONDS)
        try:
            for path in paths:
                dismount(capture(path), covers=covers)
            mounts = [mount_at(path) for path in paths]
            assert all(each is not None and each.filesystem == FILE_SYSTEM for each in mounts)
        finally:
            covers.close()
            for path in paths:
                subprocess.run(["umount", "--lazy", str(path)], check=True)


def test_a_cover_that_was_left_below_a_mount_is_in_nobody_s_way(ram_directory: Path) -> None:
    """By a process that was killed before the mount went: the next one puts its own above it."""
    with MountBench(ram_directory) as bench:
        path = bench.mount(bench.device("1"), "mnt")
        deadline = time.clock_gettime_ns(time.CLOCK_MONOTONIC) + 60 * _SECONDS
        left = make_covers(deadline)
        spot, tree = mount_api.open_place(str(path)), mount_api.clone_tree(left.directory)
        mount_api.attach_beneath(tree, spot)
        for each in (spot, tree):
            os.close(each)
        release(left.server)
        left.close()
        covers = make_covers(deadline)
        try:
            points = dismount(capture(str(path)), covers=covers)
            there = mount_at(path)
            assert there is not None and there.source == covers.server.name
            for root in remount(points, points[-1].source, "ext4").values():
                os.close(root)
            there = mount_at(path)
            assert there is not None and there.filesystem == "ext4"
            run("umount", path)
            assert path.exists(), "whoever looks takes the old one away"
            assert mount_at(path) is None
        finally:
            release(covers.server)
            covers.close()


def test_the_old_storage_at_its_own_place_is_named(ram_directory: Path) -> None:
    with MountBench(ram_directory) as bench:
        device = bench.device("1")
        path = bench.mount(device, "mnt")
        aside = ram_directory / "aside"
        aside.mkdir()
        subprocess.run(["mount", device, str(aside)], check=True)
        busy = os.open(aside, os.O_RDONLY)  # so that the kernel does not let go of it at once
        try:
            subprocess.run(["umount", "--lazy", str(aside)], check=True)

            def mount_it() -> None:
                wait_until(lambda: mount_at(path) is None)
                mount_now(device, path)

            stranger = Thread(target=mount_it)
            stranger.start()
            with pytest.raises(InUse, match="by somebody else") as caught:
                dismount(capture(path))
            stranger.join(30)
            assert f"umount {path}" in caught.value.mend
            there = mount_at(path)
            assert there is not None and there.source == device
        finally:
            os.close(busy)
            while mount_at(path) is not None:
                subprocess.run(["umount", str(path)], check=True)


def test_the_number_of_one_that_is_gone_is_another_s_by_then(ram_directory: Path) -> None:
    """The kernel gives out the least number that is free: both are mounted again."""
    with MountBench(ram_directory) as bench:
        device = bench.device("1")
        path = bench.mount(device, "mnt")
        aside, other = ram_directory / "aside", ram_directory / "other"
        aside.mkdir()
        other.mkdir()
        subprocess.run(["mount", device, str(aside)], check=True)
        busy = os.open(aside, os.O_RDONLY)  # so that the kernel does not let go of it at once
        subprocess.run(["umount", "--lazy", str(aside)], check=True)

        def mount_and_let_go() -> None:
            wait_until(lambda: mount_at(path) is None)
            mount_now(device, other)
            wait_until(lambda: mount_at(other) is None)
            os.close(busy)

        somebody = Thread(target=mount_and_let_go)
        somebody.start()
        gone = dismount(capture(path))
        somebody.join(30)
        assert sorted(each.path for each in gone) == sorted(map(str, (path, other)))
        assert len({each.id for each in gone}) == 2
