"""A file system under running programs, and everything it takes to put another one in its place."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from holdfast.applications.rebind.outcomes import ReboundHandle
from holdfast.applications.rebind.rebind import Rebind
from holdfast.applications.users import find_users
from holdfast.model.handle import User
from holdfast.model.mountpoint import MountPoint
from holdfast.system.mountinfo import read_mount_points

SIZES = {"ext4": 64 << 20, "xfs": 300 << 20, "btrfs": 128 << 20}
_MAKE = {
    "ext4": ["mkfs.ext4", "-q", "-F"],
    "xfs": ["mkfs.xfs", "-q", "-f"],
    "btrfs": ["mkfs.btrfs", "-q", "-f"],
}
DEADLINE_SECONDS = 60.0


class Bench:
    """One mount point; images of file systems that are mounted there in turn."""

    def __init__(self, folder: Path, filesystem: str = "ext4") -> None:
        self.folder = folder
        self.path = folder / "mnt"
        self.path.mkdir()
        self._next = folder / "next"
        self._next.mkdir()
        self._images = 0
        self.record = folder / "record"
        self.image = self.make(filesystem)
        self.mount(self.image)

    def make(self, filesystem: str) -> Path:
        """A new file system in an image."""
        self._images += 1
        image = self.folder / f"{self._images}-{filesystem}.img"
        with image.open("wb") as file:
            file.truncate(SIZES[filesystem])
        run(*_MAKE[filesystem], image)
        return image

    def mount(self, image: Path, path: Path | None = None) -> None:
        """Mount an image."""
        run("mount", "-o", "loop", image, path or self.path)

    def dismount(self) -> None:
        """A real umount; fails when anything keeps it busy."""
        run("umount", self.path)

    def points(self) -> list[MountPoint]:
        """Where the file system is mounted now."""
        mine = [point for point in read_mount_points(os.getpid()) if point.path == str(self.path)]
        return [
            point for point in read_mount_points(os.getpid()) if point.device == mine[-1].device
        ]

    def users(self) -> list[User]:
        """Who uses it."""
        return find_users(self.points())

    def rebind(self) -> Rebind:
        """All users, nothing done yet."""
        points = self.points()
        deadline_ns = time.monotonic_ns() + int(DEADLINE_SECONDS * 1e9)
        return Rebind(
            self.record, find_users(points), deadline_ns, points, lambda: find_users(points)
        )

    def copy_to(self, image: Path) -> None:
        """Everything that is on the file system to a new one."""
        self.mount(image, self._next)
        try:
            run("cp", "-a", f"{self.path}/.", self._next)
        finally:
            run("umount", self._next)

    def move(self, filesystem: str, *, same_data: bool = False) -> list[ReboundHandle]:
        """Put a copy on another file system in its place, under everybody who uses it."""
        image = self.make(filesystem)
        rebind = self.rebind()
        rebind.stop()
        try:
            run("sync", "--file-system", self.path)
            rebind.park()
            self.copy_to(image)
            base = self.exchange(image)
            try:
                return rebind.rebind(base, same_data=same_data)
            finally:
                for descriptor in base.values():
                    os.close(descriptor)
        finally:
            rebind.release()

    def exchange(self, image: Path) -> dict[int, int]:
        """Dismount what is there, mount this instead; the new root for each old mount."""
        old = self.points()
        self.dismount()
        self.mount(image)
        self.image = image
        return {point.id: os.open(self.path, os.O_PATH) for point in old}

    def close(self) -> None:
        """Take it away."""
        subprocess.run(["umount", self.path], check=False, capture_output=True)


def run(*command: str | Path) -> None:
    """Run a command; its words when it fails."""
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    assert result.returncode == 0, f"{command}: {result.stderr}"


class Program:
    """A program under test: says `ready`, waits, verifies itself when asked, says `ok`."""

    def __init__(self, command: Sequence[str | Path], **options: object) -> None:
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **options,  # type: ignore[call-overload]
        )
        assert self._line() == "ready"

    @property
    def pid(self) -> int:
        """Its number."""
        return int(self.process.pid)

    def _line(self) -> str:
        line: str = self.process.stdout.readline()
        return line.strip()

    def ask(self, what: str = "verify") -> str:
        """What it answers."""
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return self._line()

    def verify(self) -> None:
        """Let it verify itself."""
        answer = self.ask()
        assert answer == "ok", f"{answer} (exit status {self.process.poll()})"

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate(timeout=10)
