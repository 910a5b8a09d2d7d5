"""Whoever sees a volume from a user namespace of his own gets no more of it by a move than before,
and keeps nobody else from his mounts."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import InUse
from holdfast.model.finding import Finding
from holdfast.mountpoints.capture import capture, newcomers
from holdfast.mountpoints.dismount import dismount
from holdfast.mountpoints.placing import Manner
from holdfast.mountpoints.remount import remount
from holdfast.service import Holdfast, MigrateRequest
from tests.kernel.mountpoints.bench import MountBench, run
from tests.kernel.restoration.bench import make_image, mounted

OPTIONS = {"nosuid", "nodev", "noexec"}
OWN = "/mnt/own"
PROGRAM = f"""
echo here; read x
mount -t tmpfs none /mnt && mkdir {OWN} && mount --bind "$1" {OWN} && echo ready; read x
"""


@contextmanager
def seen_by_stranger(bench: MountBench, device: str, *become: str) -> Iterator[tuple[Path, int]]:
    """A volume, and a process in a user namespace that was there before it, which has also bound it
    to a place of its own. `become`: the command by which that is somebody else than root."""
    stage = bench.mount(bench.folder, "stage", "--bind", "--make-shared")
    path = bench.folder / "stage/main"
    path.mkdir()
    command = ["unshare", "--user", "--map-root-user", "--mount", "--propagation", "unchanged"]
    process = subprocess.Popen(
        [*become, *command, "sh", "-c", PROGRAM, "sh", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        assert process.stdout.readline() == b"here\n"
        bench.mount(device, f"{stage.name}/main", "-o", ",".join(OPTIONS))
        process.stdin.write(b"go\n")
        assert process.stdout.readline() == b"ready\n"
        yield path, process.pid
    finally:
        process.communicate(timeout=20)


def options(pid: int, path: Path | str) -> set[str]:
    """Those of the topmost mount at a path, as a process sees it."""
    lines = [line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
    return set([words[5] for words in lines if words[4] == str(path)][-1].split(","))


def may_take_away(pid: int, path: Path | str) -> bool:
    """Whether the owner of that user namespace can have devices, programs and set-id bits."""
    inside = ["nsenter", "--user", "--mount", "--target", str(pid)]
    change = ["mount", "-o", "remount,bind,dev,suid,exec", str(path)]
    return subprocess.run([*inside, *change], capture_output=True, check=False).returncode == 0


def test_options_that_were_locked_are_locked_afterwards(ram_directory: Path) -> None:
    with MountBench(ram_directory) as bench:
        old, new = bench.device("old"), bench.device("new")
        with seen_by_stranger(bench, old) as (path, pid):
            assert not may_take_away(pid, OWN)
            points = dismount(capture(str(path)))
            for root in remount(points, new, "ext4").values():
                os.close(root)
            for place in (path, OWN):
                assert options(pid, place) >= OPTIONS
                assert not may_take_away(pid, place)


def test_whose_mount_is_out_of_reach_is_named(ram_directory: Path) -> None:
    """He has mounted something over the way to it; everything is as before."""
    with MountBench(ram_directory) as bench:
        device = bench.device("old")
        with seen_by_stranger(bench, device) as (path, pid):
            inside = ["nsenter", "--user", "--mount", "--target", str(pid)]
            run(*inside, "mount", "-t", "tmpfs", "none", "/mnt")
            with pytest.raises(InUse, match=f"in the mount namespace of process {pid} "):
                dismount(capture(str(path)))
            assert path.is_mount()
            assert options(pid, path) >= OPTIONS
            run(*inside, "umount", "/mnt")
            for root in remount(dismount(capture(str(path))), device, "ext4").values():
                os.close(root)


def test_a_mount_that_cannot_be_made_as_it_was_keeps_nobody_from_the_others(
    ram_directory: Path,
) -> None:
    """Undoing: what is locked in a stranger's namespace is left as it is, and said."""
    with MountBench(ram_directory) as bench:
        device = bench.device("old")
        with seen_by_stranger(bench, device) as (path, pid):
            points = [
                replace(point, options="rw,relatime") if point.path == OWN else point
                for point in capture(str(path))
            ]
            findings: list[Finding] = []
            manner = Manner(undoing=True)
            roots = remount(points, device, "ext4", note=findings.append, manner=manner)
            for root in roots.values():
                os.close(root)
            assert roots.keys() == {point.id for point in points}
            assert any(OWN in each.found for each in findings)
            assert options(pid, OWN) >= OPTIONS


def test_what_a_stranger_mounts_meanwhile_in_his_namespace_fails_nobody_else(
    ram_directory: Path,
) -> None:
    with MountBench(ram_directory) as bench:
        old, new = bench.device("old"), bench.device("new")
        with seen_by_stranger(bench, old) as (path, pid):
            points = dismount(capture(str(path)))
            inside = ["nsenter", "--user", "--mount", "--target", str(pid)]
            run(*inside, "mount", "-t", "tmpfs", "none", OWN)
            assert not [each for each in newcomers(points) if each.path == OWN]
            findings: list[Finding] = []
            for root in remount(points, new, "ext4", note=findings.append).values():
                os.close(root)
            assert options(os.getpid(), path) >= OPTIONS
            assert any(OWN in each.found for each in findings)


def test_no_device_can_be_opened_while_handles_move(
    settings: Settings, ram_directory: Path
) -> None:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt", *OPTIONS) as path, Holdfast(settings) as holdfast:
        run("mknod", "-m", "666", path / "device", "c", "1", "3")  # as /dev/null
        holdfast.adopt_volume("data", str(path))
        (path / "file").touch()
        opened = 0
        is_over = threading.Event()

        def try_to_open() -> None:
            nonlocal opened
            while not is_over.is_set():
                with suppress(OSError):
                    os.close(os.open(path / "device", os.O_RDONLY))
                    opened += 1

        held = subprocess.Popen(["sleep", "600"], stdin=(path / "file").open(), cwd="/")
        watcher = threading.Thread(target=try_to_open)
        watcher.start()
        try:
            holdfast.restorations.migrate(
                MigrateRequest("data", (f"file:{ram_directory / '2.img'}",))
            )
        finally:
            is_over.set()
            watcher.join()
            held.kill()
            held.wait(30)
        assert opened == 0
        assert options(os.getpid(), path) >= OPTIONS
