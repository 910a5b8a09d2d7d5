"""A file system under running programs, and everything it takes to put another one in its place."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.parking.relocation import CopiedFiles
from holdfast.applications.rebind.rebind import Rebind
from holdfast.applications.users import find_users
from holdfast.model.handle import User
from holdfast.model.mountpoint import MountPoint
from holdfast.mountpoints.capture import capture
from holdfast.mountpoints.dismount import dismount
from holdfast.mountpoints.remount import remount
from holdfast.restoration.copying.process.child import Copying
from holdfast.restoration.copying.sides import CopySource, CopyTarget
from holdfast.system.storage.filesystem import make_filesystem
from tests.faults.mounting import mount_image

SIZES = {"ext4": 64 << 20, "xfs": 300 << 20, "btrfs": 128 << 20}
DEADLINE_SECONDS = 60.0


def users_of(points: Sequence[MountPoint]) -> list[User]:
    """As a restoration sees them: whose maps cannot be read is another test's, as a rule."""
    return [user for user in find_users(points) if not user.is_suspect]


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
        self._attach(self.image, self.path)
        self.path.chmod(0o777)

    def make(self, filesystem: str) -> Path:
        """A new file system in an image."""
        image = self._empty(filesystem)
        make_filesystem(filesystem, str(image), "", str(uuid.uuid4()))
        return image

    def _empty(self, filesystem: str) -> Path:
        self._images += 1
        image = self.folder / f"{self._images}-{filesystem}.img"
        with image.open("wb") as file:
            file.truncate(SIZES[filesystem])
        return image

    def _attach(self, image: Path, path: Path) -> None:
        mount_image(image, path)

    def users(self) -> list[User]:
        """Who uses it."""
        return users_of(capture(str(self.path)))

    def rebind(self, seconds: float = DEADLINE_SECONDS, **options: Any) -> Rebind:
        """All users, nothing done yet."""
        points = capture(str(self.path))
        deadline_ns = time.monotonic_ns() + int(seconds * 1e9)
        return Rebind(
            self.record,
            users_of(points),
            deadline_ns,
            points,
            lambda: users_of(points),
            **options,
        )

    @contextmanager
    def prepared(self, filesystem: str) -> Iterator[Path]:
        """A new image with everything that is on the file system; a folder to change it in."""
        image = self.make(filesystem)
        self._attach(image, self._next)
        try:
            run("cp", "-a", f"{self.path}/.", self._next)
            yield image
        finally:
            run("umount", self._next)

    def die_parked(self, seconds: float) -> None:
        """An agent stops and parks everybody, with that deadline, and is killed."""
        child = os.fork()
        if child == 0:
            try:
                rebind = self.rebind(seconds)
                rebind.stop()
                rebind.park()
                os.kill(os.getpid(), signal.SIGKILL)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status)

    def agent(self, first: Callable[[], object] = lambda: None, **options: Any) -> int:
        """An agent in a child, which moves everybody to where they are; the caller waits for it.

        `first` is what it does before, `options` are those of `Rebind.rebind`.
        """
        child = os.fork()
        if child == 0:
            try:
                first()
                rebind = self.rebind()
                rebind.stop()
                rebind.park()
                self.move_here(rebind, **options)
                os._exit(0)
            finally:
                os._exit(1)
        return child

    def move_here(self, rebind: Rebind, **options: Any) -> None:
        """Give those that are parked what they had, on what is mounted here; let them go."""
        bases = {point.id: os.open(self.path, os.O_PATH) for point in capture(str(self.path))}
        try:
            rebind.rebind(bases, **options)
            rebind.release()
        finally:
            for descriptor in bases.values():
                os.close(descriptor)

    def move(
        self, filesystem: str, change: Callable[[Path], None] | None = None
    ) -> list[ReboundHandle]:
        """Put a copy on another file system in its place, under everybody who uses it.

        `change` alters the copy before it takes the place of the original.
        """
        rebind = self.rebind()
        rebind.stop()
        try:
            run("sync", "--file-system", self.path)
            rebind.park()
            with self.prepared(filesystem) as image:
                if change is not None:
                    change(self._next)
            with self.exchanged(image) as bases:
                return rebind.rebind(bases)
        finally:
            rebind.release()

    @contextmanager
    def exchanged(self, image: Path) -> Iterator[dict[int, int]]:
        """Dismount what is there, mount this instead; the new root for each old mount."""
        points = capture(str(self.path))
        dismount(points)
        with self._mounted(image, points) as bases:
            yield bases

    @contextmanager
    def _mounted(self, image: Path, points: Sequence[MountPoint]) -> Iterator[dict[int, int]]:
        self.image = image
        device = subprocess.check_output(["losetup", "--find", "--show", image], text=True).strip()
        try:
            bases = remount(points, device, image.stem.partition("-")[2])
        finally:
            run("losetup", "--detach", device)  # with the last mount
        try:
            yield bases
        finally:
            for descriptor in bases.values():
                os.close(descriptor)

    @contextmanager
    def copied(self, filesystem: str, rebind: Rebind) -> Iterator[dict[int, int]]:
        """As a migration does it: copied while it is mounted, once more when it is not, and
        mounted in its place. Everybody is parked."""
        target = self._empty(filesystem)
        copying = Copying(
            CopySource(path=str(self.path)),
            CopyTarget(str(target), SIZES[filesystem], filesystem, "", str(uuid.uuid4())),
        )
        try:
            copying.run_pass()
            copying.leave_source()
            points = capture(str(self.path))
            dismount(points)
            kind = self.image.stem.partition("-")[2]
            copying.take_source(CopySource(device=str(self.image), filesystem=kind, is_image=True))
            copying.run_pass(verify=True)
            found = copying.locate(rebind.inodes(), 30)
            rebind.files_were_copied(CopiedFiles.of(found))
            copying.finish()
        finally:
            copying.close()
        with self._mounted(target, points) as bases:
            yield bases

    def close(self) -> None:
        """Take it away."""
        deadline = time.monotonic() + 10
        while os.path.ismount(self.path):  # until those who were killed have gone
            if subprocess.run(["umount", self.path], check=False, capture_output=True).returncode:
                assert time.monotonic() < deadline, f"{self.path} is busy"
                time.sleep(0.01)


def run(*command: str | Path) -> None:
    """Run a command; its words when it fails."""
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    assert result.returncode == 0, f"{command}: {result.stderr}"


class Program:
    """A program under test: says `ready`, waits, verifies itself when asked, says `ok`."""

    def __init__(self, command: Sequence[str | Path], **options: Any) -> None:
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **options,
        )
        answer = self.answer()
        assert answer == "ready", answer

    @property
    def pid(self) -> int:
        """Its number."""
        return self.process.pid

    def answer(self) -> str:
        """The next line that it says."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self, what: str = "verify") -> str:
        """What it answers."""
        assert self.process.stdin is not None
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return self.answer()

    def settle(self) -> None:
        """Wait until it waits for input."""
        while not Path(f"/proc/{self.pid}/syscall").read_text().startswith("0 0x0 "):
            time.sleep(0.001)

    def verify(self) -> None:
        """Let it verify itself, twice: what it does the first time must not spoil anything."""
        for _ in range(2):
            answer = self.ask()
            assert answer == "ok", f"{answer} (exit status {self.process.poll()})"

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate(timeout=10)
