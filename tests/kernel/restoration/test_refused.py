"""What is in the way is found before anything is touched: no process, mount or file has changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import Blocked, HoldsData, OwnLeg, TooSmall
from holdfast.service import AssessRequest, Holdfast, MigrateRequest
from tests.kernel.restoration.bench import is_settled, make_image, mounted, state_of


@pytest.fixture
def adopted(settings: Settings, ram_directory: Path) -> Iterator[tuple[Holdfast, Path]]:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        yield holdfast, path


@contextmanager
def program(text: str, directory: Path) -> Iterator[subprocess.Popen[str]]:
    """A program that has said `ready` and waits for its input to end."""
    process = subprocess.Popen(
        [sys.executable, "-c", text + "\nprint('ready', flush=True)\nimport sys; sys.stdin.read()"],
        cwd=directory,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def world(folder: Path) -> tuple[list[str], list[str]]:
    """Mounts and images in the folder."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    images = sorted(str(path) for path in folder.glob("*.img*"))
    return [line for line in lines if f"{folder}/" in line], images


def test_a_socket_bound_on_the_volume_blocks(
    adopted: tuple[Holdfast, Path], ram_directory: Path
) -> None:
    holdfast, path = adopted
    text = (
        "import socket; s = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM); s[0].bind('here')"
    )
    with program(text, path) as blocking, program("f = open('file', 'w')", path) as other:
        before = state_of([blocking.pid, other.pid]), world(ram_directory)
        with pytest.raises(Blocked, match="socket"):
            holdfast.restorations.migrate(MigrateRequest("data", (f"file:{ram_directory}/2.img",)))
        assert (state_of([blocking.pid, other.pid]), world(ram_directory)) == before
        assert is_settled(other.pid)
        assert holdfast.restorations.in_progress("data") is None
        assert holdfast.receipts("data") == []


def test_the_commands_exit_status_is_3_with_the_findings(
    adopted: tuple[Holdfast, Path], ram_directory: Path
) -> None:
    _, path = adopted
    text = (
        "import socket; s = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM); s[0].bind('here')"
    )
    command = [str(Path(sys.executable).with_name("holdfast")), "assess", "data", "--json"]
    with program(text, path):
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 3
    found = json.loads(done.stdout)
    assert found["possible"] is False
    assert found["plan"]["steps"] == []
    assert [each["verdict"] for each in found["plan"]["findings"]].count("blocks") == 1
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0
    assert json.loads(done.stdout)["possible"] is True


def test_a_file_system_mounted_below_blocks(adopted: tuple[Holdfast, Path]) -> None:
    holdfast, path = adopted
    (path / "inner").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "inner", str(path / "inner")], check=True)
    try:
        with program("f = open('file', 'w')", path) as process:
            before = state_of([process.pid])
            with pytest.raises(Blocked, match="inner"):
                holdfast.restorations.park("data", 10.0)
            assert state_of([process.pid]) == before
    finally:
        subprocess.run(["umount", str(path / "inner")], check=True)


IN_THE_KERNEL = {
    "loop": (["losetup", "--find", "--show"], ["losetup", "--detach"]),
    "swap": (["swapon"], ["swapoff"]),
}
"""How the kernel is given a file, and how it gives that back (the device, else the file)."""


@pytest.mark.parametrize("what", IN_THE_KERNEL)
def test_a_file_that_the_kernel_uses_blocks(adopted: tuple[Holdfast, Path], what: str) -> None:
    holdfast, path = adopted
    image = path / "image"
    image.write_bytes(bytes(1 << 20))
    image.chmod(0o600)
    if what == "swap":
        subprocess.run(["mkswap", str(image)], check=True, capture_output=True)
    begin, end = IN_THE_KERNEL[what]
    begun = subprocess.run([*begin, str(image)], check=True, capture_output=True, text=True)
    try:
        with program("f = open('file', 'w')", path) as process:
            before = state_of([process.pid])
            with pytest.raises(Blocked, match=what):
                holdfast.restorations.park("data", 10.0)
            assert state_of([process.pid]) == before
    finally:
        subprocess.run([*end, begun.stdout.strip() or str(image)], check=True)


def test_the_state_directory_on_the_volume_blocks(
    adopted: tuple[Holdfast, Path], ram_directory: Path
) -> None:
    holdfast, path = adopted
    state = holdfast.settings.state_directory
    holdfast.close()
    moved = path / "state"
    subprocess.run(["cp", "-a", str(state), str(moved)], check=True)
    subprocess.run(["mount", "--bind", str(moved), str(state)], check=True)
    try:
        with Holdfast(holdfast.settings) as other:
            found = other.restorations.assess(AssessRequest("data"))
        assert found.plan.refuses
        assert any("state" in each.subject for each in found.plan.findings)
    finally:
        subprocess.run(["umount", str(state)], check=True)


def test_containers_that_will_not_do(adopted: tuple[Holdfast, Path], ram_directory: Path) -> None:
    holdfast, path = adopted

    def migrate(name: str, url: str) -> None:
        holdfast.restorations.migrate(MigrateRequest(name, (url,)))

    with pytest.raises(OwnLeg):
        migrate("data", f"file:{path}/inside.img")
    full = make_image(ram_directory / "full.img", size_bytes=64 << 20)
    with pytest.raises(HoldsData):
        migrate("data", f"file:{full}")
    small = ram_directory / "small.img"
    with small.open("wb") as file:
        file.truncate(20 << 20)
    (path / "big").write_bytes(os.urandom(30 << 20))
    with pytest.raises(TooSmall):
        migrate("data", f"file:{small}")
    assert holdfast.restorations.in_progress("data") is None


def test_without_room_everything_is_taken_back(
    adopted: tuple[Holdfast, Path], ram_directory: Path
) -> None:
    """The container's own storage has less room than is in use."""
    holdfast, path = adopted
    disk = make_image(ram_directory / "disk.img", size_bytes=40 << 20)
    (path / "big").write_bytes(os.urandom(45 << 20))
    with mounted(disk, ram_directory / "disk") as small, program("f = open('big')", path) as user:
        before = state_of([user.pid])
        with pytest.raises(Exception, match="are free there"):
            holdfast.restorations.migrate(MigrateRequest("data", (f"file:{small}/2.img",)))
        assert state_of([user.pid]) == before
        assert not (small / "2.img").exists()
        assert holdfast.restorations.in_progress("data") is None
