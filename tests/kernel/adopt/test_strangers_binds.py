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
from holdfast.model.volume import VolumeState
from holdfast.mountpoints.capture import capture
from holdfast.mountpoints.recording import recordable
from holdfast.service import AssessRequest, Holdfast, MigrateRequest
from tests.kernel.restoration.bench import application, make_image, mounted

BINDS = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def mount(source, target, kind, flags):
    if libc.mount(source, target, kind, ctypes.c_ulong(flags), None):
        raise OSError(ctypes.get_errno(), "mount")
volume, name, levels, count = os.fsencode(sys.argv[1]), os.fsencode(sys.argv[2]), *sys.argv[3:]
mount(b"none", b"/mnt", b"tmpfs", 0)
for each in range(int(count)):
    os.chdir("/mnt")
    os.mkdir(str(each))
    os.chdir(str(each))
    for _ in range(int(levels)):
        os.mkdir(name)
        os.chdir(name)
    mount(volume, b".", None, 4096)
os.chdir("/")
print("ready", flush=True)
sys.stdin.readline()
"""


STRANGER = (
    *("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"),
    *("unshare", "--user", "--map-root-user", "--mount", "--propagation", "unchanged"),
)
CONTAINER = ("unshare", "--mount")


@contextmanager
def bound(
    path: Path, name: str, levels: int, count: int, by: Sequence[str] = STRANGER
) -> Iterator[int]:
    """The process of somebody who has bound a volume in a mount namespace of his own."""
    path.chmod(0o777)
    program = ("/usr/bin/python3", "-c", BINDS, str(path), name, str(levels), str(count))
    command = [*by, *program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process.pid
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
            assert recordable(points) == points
    finally:
        subprocess.run(["umount", other], check=True)
