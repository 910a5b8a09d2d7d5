"""Others bind a volume in namespaces of their own, as deep as they like, under any name: that keeps
nobody from managing it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import Blocked, InUse
from holdfast.model.reporter import Reporter
from holdfast.model.volume import VolumeState
from holdfast.mountpoints.capture import capture
from holdfast.mountpoints.surplus.recording import recordable
from holdfast.service import AssessRequest, Holdfast, MigrateRequest
from tests.kernel.restoration.bench import application, make_image, mounted

BINDS = """
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def mount(source, target, kind, flags):
    if libc.mount(source, target, kind, ctypes.c_ulong(flags), None):
        raise OSError(ctypes.get_errno(), "mount")
volume, name, levels, count, others = *map(os.fsencode, sys.argv[1:3]), *map(int, sys.argv[3:])
mount(b"none", b"/mnt", b"tmpfs", 0)
os.mkdir("/mnt/other")
for each in range(others):
    mount(b"/mnt/other", b"/mnt/other", None, 4096)
print("here", flush=True)
while not os.path.ismount(volume):
    time.sleep(0.02)
for each in range(count):
    place = f"/mnt/{each if levels else 0}"
    os.makedirs(place, exist_ok=True)
    os.chdir(place)
    for _ in range(levels):
        os.mkdir(name)
        os.chdir(name)
    mount(volume, b".", None, 4096)
os.chdir("/")
print("ready", flush=True)
sys.stdin.readline()
"""


ROOTS = ("unshare", "--user", "--map-root-user", "--mount", "--propagation", "unchanged")
STRANGER = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *ROOTS)
CONTAINER = ("unshare", "--mount")


@contextmanager
def bound(
    path: Path, name: str, levels: int, count: int, by: Sequence[str] = STRANGER
) -> Iterator[int]:
    """The process of somebody who has bound a volume in a mount namespace of his own."""
    with about_to_bind(path, name, levels, count, by) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process.pid


@contextmanager
def about_to_bind(
    path: Path, name: str, levels: int, count: int, by: Sequence[str] = STRANGER, others: int = 0
) -> Iterator[subprocess.Popen[bytes]]:
    """The same, when he has his namespace, and waits for the volume to be mounted.

    Without `levels` all are mounted on each other. `others`: mounts of something else of his.
    """
    path.chmod(0o777)
    numbers = map(str, (levels, count, others))
    command = [*by, "/usr/bin/python3", "-c", BINDS, str(path), name, *numbers]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
        yield process
        process.communicate(timeout=30)


@pytest.fixture
def path(ram_directory: Path) -> Iterator[Path]:
    """An ext4 file system, mounted where everybody can see it."""
    for folder in (ram_directory, ram_directory.parent):
        folder.chmod(0o755)
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as there:
        yield there


def test_deeper_than_any_path(settings: Settings, path: Path) -> None:
    """It is adopted; what cannot be dismounted is named, and nothing is touched for it."""
    with Holdfast(settings) as holdfast, bound(path, "d" * 255, 300, 1) as stranger:
        assert holdfast.adopt_volume("data", str(path)).state is VolumeState.HEALTHY
        assert [each.name for each in holdfast.list_volumes()] == ["data"]
        found = holdfast.restorations.assess(AssessRequest("data"))
        assert any(f"process {stranger}" in each.found + each.mend for each in found.plan.findings)
        with pytest.raises(InUse, match="longer than any system call takes") as refusal:
            holdfast.detach_volume("data")
        assert f"process {stranger}" in refusal.value.mend
        assert path.is_mount()
        request = MigrateRequest("data", (f"file:{path.parent}/2.img",))
        with pytest.raises(Blocked, match="path that is too long"):
            holdfast.restorations.migrate(request)
        assert holdfast.restorations.in_progress("data") is None
    with Holdfast(settings) as holdfast:
        holdfast.detach_volume("data")
        assert holdfast.attach_volume("data").state is VolumeState.HEALTHY


def test_in_bytes_that_are_no_text(settings: Settings, path: Path) -> None:
    """Its mounts come back like everybody's."""
    with Holdfast(settings) as holdfast, bound(path, "\udcff\n\\", 1, 2, CONTAINER):
        holdfast.adopt_volume("data", str(path))
        with application(path, path.parent / "record") as running:
            holdfast.restorations.migrate(
                MigrateRequest("data", (f"file:{path.parent}/2.img",), filesystem="btrfs")
            )
            assert running.verify() > 0
        there = [each for each in capture(str(path)) if "\udcff" in each.path]
        assert len(there) == 2
        assert holdfast.show_volume("data").filesystem == "btrfs"
        holdfast.detach_volume("data")
        holdfast.attach_volume("data")
        assert len([each for each in capture(str(path)) if "\udcff" in each.path]) == 2


@pytest.fixture
def later(ram_directory: Path) -> Iterator[tuple[Path, Path]]:
    """An image, and where it can be mounted so that who has a mount namespace already sees it."""
    stage = ram_directory / "stage"
    for folder in (ram_directory, ram_directory.parent, stage):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
    subprocess.run(["mount", "--bind", "--make-shared", stage, stage], check=True)
    path = stage / "mnt"
    path.mkdir()
    yield make_image(stage / "1.img", size_bytes=64 << 20), path
    subprocess.run(["umount", stage], check=True)


def test_more_and_longer_than_a_record_holds(settings: Settings, later: tuple[Path, Path]) -> None:
    """Who moves or parks the volume is told whose mounts are lost, and is not kept from it."""
    image, path = later
    with (
        Holdfast(settings) as holdfast,
        about_to_bind(path, "\udcff" * 255, 15, 720) as stranger,
        mounted(image, path),
    ):
        assert stranger.stdout is not None
        assert stranger.stdout.readline() == b"ready\n"
        holdfast.adopt_volume("data", str(path))
        found = holdfast.restorations.assess(AssessRequest("data")).plan.findings
        lost = [each for each in found if each.subject == "mounts left out"]
        assert [f"process {stranger.pid}" in each.found for each in lost] == [True]
        with application(path, path.parent / "record") as running:
            request = MigrateRequest("data", (f"file:{path.parent}/2.img",))
            receipt = holdfast.restorations.migrate(request)
            assert running.verify() > 0
        assert receipt is not None
        assert f"process {stranger.pid}, which belongs" in str(receipt.as_json())
        there = capture(str(path))
        assert 2 < len(there) < 30
        holdfast.restorations.park("data", 20.0)
        assert not path.is_mount()
        assert holdfast.attach_volume("data").state is VolumeState.HEALTHY
        holdfast.detach_volume("data")


@pytest.mark.parametrize(("levels", "count", "others"), [(0, 1500, 0), (1, 480, 5000)])
def test_on_each_other_or_among_many(
    settings: Settings, later: tuple[Path, Path], levels: int, count: int, others: int
) -> None:
    """What is dismounted is dismounted in time, and those whose it was are named."""
    image, path = later
    with (
        Holdfast(settings) as holdfast,
        about_to_bind(path, "d", levels, count, others=others) as stranger,
        mounted(image, path),
    ):
        assert stranger.stdout is not None
        assert stranger.stdout.readline() == b"ready\n"
        assert holdfast.adopt_volume("data", str(path)).state is VolumeState.HEALTHY
        told: list[str] = []
        holdfast.detach_volume("data", Reporter(find=lambda finding: told.append(finding.found)))
        assert [f"process {stranger.pid}" in each for each in told] == [True]
        assert holdfast.attach_volume("data").state is VolumeState.HEALTHY
        assert 2 < len(capture(str(path))) < 100
        holdfast.detach_volume("data")


def test_each_container_of_root_counts_for_itself(path: Path) -> None:
    """However many mounts one has, the others' are made again."""
    with (
        bound(path, "\udcff" * 255, 14, 20, ROOTS),
        bound(path, "\udcff" * 255, 14, 1, ROOTS) as other,
    ):
        points = capture(str(path))
        kept = recordable(points)
        assert len(kept) < len(points)
        his = {point for point in points if point.witness_pid == other}
        assert len(his) > 1
        assert his <= set(kept)


def test_more_often_than_there_is_room_for(path: Path) -> None:
    """The administrator's own mounts are recorded before those of a stranger."""
    other = path.parent / "other"
    other.mkdir()
    subprocess.run(["mount", "--bind", path, other], check=True)
    try:
        with bound(path, "\udcff" * 255, 14, 20):
            points = capture(str(path))
            longest = max(len(json.dumps(asdict(point))) for point in points)
            found = recordable(points, 4 * longest)
            assert {str(path), str(other)} <= {each.path for each in found}
            assert 2 < len(found) < 10
            assert [each for each in points if each in found] == list(found)
            assert len(recordable(points)) < len(points)
        with bound(path, "\udcff" * 255, 14, 5):
            points = capture(str(path))
            assert recordable(points) == points
    finally:
        subprocess.run(["umount", other], check=True)
