"""A dismount that is refused names who is in the way, and leaves everything as it was."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from holdfast.errors import InUse, StorageFailed
from holdfast.model.finding import Verdict
from holdfast.mountpoints.capture import capture
from holdfast.mountpoints.dismount import dismount
from holdfast.mountpoints.obstacles import obstacles
from holdfast.mountpoints.remount import remount
from holdfast.system.mounts.mount_table import mount_at
from holdfast.system.proc_text import OPENING_FIFO
from tests.kernel.mountpoints.bench import MountBench, held_open, run


def test_an_open_file_anywhere_keeps_all_mounts(ram_directory: Path) -> None:
    with MountBench(ram_directory) as bench:
        device = bench.device("data")
        stage = bench.folder / "stage"
        stage.mkdir()
        bench.mount(stage, "stage", "--bind", "--make-shared")
        path = bench.mount(device, "stage/path")
        bench.mount(path, "copy", "--bind", "--make-unbindable")
        for propagation in ("private", "slave", "shared"):
            bench.namespace(propagation)
        before = bench.table(device)
        with held_open(path / "file"), pytest.raises(InUse, match=f"process {os.getpid()}"):
            dismount(capture(str(path)))
        assert bench.table(device) == before


def test_a_descriptor_that_nobody_has_received_is_suspected(ram_directory: Path) -> None:
    """It is in no table: whoever may receive it is named."""
    with MountBench(ram_directory) as bench:
        path = bench.mount(bench.device("1"), "mnt")
        ours, theirs = socket.socketpair()
        with open(path / "file", "w") as file:
            socket.send_fds(ours, [b"x"], [file.fileno()])
        with pytest.raises(InUse, match=rf"process {os.getpid()}: descriptor {theirs.fileno()}\b"):
            dismount(capture(str(path)))
        assert path.is_mount()
        ours.close()
        theirs.close()
        dismount(capture(str(path)))


def test_who_waits_to_open_a_fifo_that_lost_its_name_is_suspected(ram_directory: Path) -> None:
    """Who uses it by nothing else would keep a volume busy, and nobody would be named."""
    with MountBench(ram_directory) as bench:
        path = bench.mount(bench.device("1"), "mnt")
        os.mkfifo(path / "x")
        with subprocess.Popen(["cat", path / "x"]) as opening:
            try:
                while Path(f"/proc/{opening.pid}/wchan").read_bytes() not in OPENING_FIFO:
                    time.sleep(0.001)
                (path / "x").unlink()
                with pytest.raises(InUse, match=f"process {opening.pid}: thread {opening.pid}"):
                    dismount(capture(str(path)))
            finally:
                opening.kill()
        dismount(capture(str(path)))


def test_a_user_in_another_namespace_is_named(ram_directory: Path) -> None:
    with MountBench(ram_directory) as bench:
        device = bench.device("data")
        path = bench.mount(device, "path")
        pid = bench.namespace("private")
        before = bench.table(device)
        command = ["nsenter", "--mount", f"--target={pid}", sys.executable, "-c",
                   f"import os, sys; os.chdir({str(path)!r}); print('in', flush=True);"
                   " sys.stdin.read()"]  # fmt: skip
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as user:
            assert user.stdout is not None and user.stdout.readline() == b"in\n"
            with pytest.raises(InUse, match=f"process {user.pid}: cwd"):
                dismount(capture(str(path)))
            assert user.stdin is not None
            user.stdin.close()
        assert bench.table(device) == before


def test_another_file_system_below_is_a_finding_and_a_refusal(ram_directory: Path) -> None:
    with MountBench(ram_directory) as bench:
        device = bench.device("data")
        path = bench.mount(device, "path")
        copy = bench.mount(path, "copy", "--bind")
        bench.mount("inner", "path/inner", "-t", "tmpfs")
        points = capture(str(path))
        found = [each for each in obstacles(points) if each.verdict is Verdict.BLOCKS]
        assert len(found) == 1
        assert f"{path}/inner" in found[0].found
        before = bench.table(device)
        with pytest.raises(InUse, match=f"something is mounted at {path}/inner"):
            dismount(points)
        assert bench.table(device) == before
        assert mount_at(copy) is not None


def test_what_is_mounted_over_a_mount_point_is_not_dismounted_instead(ram_directory: Path) -> None:
    with MountBench(ram_directory) as bench:
        device = bench.device("data")
        path = bench.mount(device, "path")
        run("mount", "-t", "tmpfs", "cover", path)
        device_number = next(
            point.device for point in capture(str(path)) if point.filesystem == "tmpfs"
        )
        covered = [each for each in _all() if each.source == device]
        with pytest.raises(InUse, match="something is mounted"):
            dismount(covered)
        top = mount_at(path)
        assert top is not None and top.device_number == device_number
        run("umount", path)


def _all() -> list:  # type: ignore[type-arg]
    from holdfast.system.mounts.all_namespaces import all_mount_points

    return all_mount_points()


def test_a_mount_that_was_detached_lazily_is_noticed(ram_directory: Path) -> None:
    with MountBench(ram_directory) as bench:
        device = bench.device("data")
        path = bench.mount(device, "path")
        copy = bench.mount(path, "copy", "--bind")
        with held_open(copy / "file"):
            run("umount", "--lazy", copy)
            before = bench.table(device)
            with pytest.raises(InUse, match="detached lazily"):
                dismount(capture(str(path)))
            assert bench.table(device) == before
        dismount(capture(str(path)))
        assert bench.table(device) == []


def test_new_storage_without_the_directory_of_a_bind_is_refused_and_taken_back(
    ram_directory: Path,
) -> None:
    with MountBench(ram_directory) as bench:
        old, new = bench.device("old"), bench.device("new")
        path = bench.mount(old, "path")
        (path / "sub").mkdir()
        bench.mount(path / "sub", "sub", "--bind")
        before = bench.table(old)
        points = capture(str(path))
        dismount(points)
        with pytest.raises(StorageFailed, match="no /sub"):
            remount(points, new, "ext4")
        assert bench.table(new) == []
        for root in remount(points, old, "ext4").values():
            os.close(root)
        assert bench.table(old) == before


def test_a_mount_point_that_is_gone_takes_the_others_back(ram_directory: Path) -> None:
    with MountBench(ram_directory) as bench:
        device = bench.device("data")
        path = bench.mount(device, "path")
        other = bench.mount(path, "other", "--bind")
        points = capture(str(path))
        dismount(points)
        other.rmdir()
        with pytest.raises(StorageFailed, match=str(other)):
            remount(points, device, "ext4")
        assert bench.table(device) == []
