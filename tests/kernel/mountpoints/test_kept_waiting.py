"""A stranger lets whoever visits his mount namespace wait in a FUSE file system of his own, from an
instant on at which nobody looks any more: he loses that, and nobody else anything."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.model.finding import Finding
from holdfast.mountpoints.capture import capture
from holdfast.mountpoints.dismount import dismount
from holdfast.mountpoints.kept_waiting import free_if_kept_waiting
from holdfast.mountpoints.remount import remount
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.mounts.mount_api import open_place
from holdfast.system.mounts.visitor import Visitor, ways_to
from tests.faults import FuseLeg
from tests.kernel.mountpoints.bench import MountBench
from tests.kernel.mountpoints.test_strangers import OWN, seen_by_stranger

STRANGER = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
ROOT = Path(__file__).parents[3]


@pytest.fixture
def fuse(disk_directory: Path, ram_directory: Path) -> Path:
    """/dev/fuse, as distributions give it to everybody."""
    for folder in (
        ram_directory,
        ram_directory.parent,
        disk_directory,
        disk_directory.parent,
    ):
        folder.chmod(0o755)
    device = disk_directory / "fuse"
    os.mknod(device, 0o020666, Path("/dev/fuse").stat().st_rdev)
    device.chmod(0o666)
    return device


@contextmanager
def kept_waiting(pid: int, fuse: Path) -> Iterator[None]:
    """Whoever looks up the name of his bind in there waits for its server."""
    inside = ["nsenter", "--user", "--mount", "--target", str(pid)]
    program = str(Path(__file__).with_name("hanging_overlay.py"))
    server = subprocess.Popen(
        [*inside, "/usr/bin/python3", program, str(Path(OWN).parent), str(fuse)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        yield
    finally:
        server.kill()
        server.communicate()


def test_while_it_is_away(ram_directory: Path, fuse: Path) -> None:
    with MountBench(ram_directory) as bench:
        old, new = bench.device("old"), bench.device("new")
        with seen_by_stranger(bench, old, *STRANGER) as (path, pid):
            points = dismount(capture(str(path)))
            assert OWN in {point.path for point in points}
            findings: list[Finding] = []
            with kept_waiting(pid, fuse):
                for root in remount(points, new, "ext4", note=findings.append).values():
                    os.close(root)
            assert path.is_mount()
            assert any(OWN in each.found for each in findings)


def test_on_the_way(ram_directory: Path, fuse: Path) -> None:
    """He does it between any two steps of one who is in there."""
    with MountBench(ram_directory) as bench:
        device = bench.device("old")
        with seen_by_stranger(bench, device, *STRANGER) as (path, pid):
            points = capture(str(path))
            with kept_waiting(pid, fuse), ways_to(points) as ways:
                (own,) = (point for point in points if point.path == OWN)

                def visit() -> int:
                    free_if_kept_waiting(ways)
                    visitor = Visitor()
                    visitor.enter(ways[own.namespace])
                    for _ in range(2):
                        with pytest.raises(OSError) as error:
                            open_place(own.path)
                    return error.value.errno

                assert in_expendable_child(visit, 60.0) in (errno.ENOTCONN, errno.ECONNABORTED)


def test_nobody_else_is_ended(ram_directory: Path, fuse: Path) -> None:
    """Root's servers, and a connection that answers."""
    with (
        FuseLeg(ram_directory / "leg.img", ram_directory / "served.img", 1 << 20) as leg,
        MountBench(ram_directory) as bench,
        seen_by_stranger(bench, bench.device("old"), *STRANGER) as (path, pid),
    ):
        points = dismount(capture(str(path)))
        leg.hang()
        asks = subprocess.Popen(["cat", leg.url.removeprefix("file:")], stdout=subprocess.DEVNULL)
        with kept_waiting(pid, fuse):
            for root in remount(points, bench.device("new"), "ext4").values():
                os.close(root)
        assert asks.poll() is None
        leg.serve()
        assert asks.wait(30) == 0
