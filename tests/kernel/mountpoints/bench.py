"""File systems on images, mounted in several mount namespaces, and their mount tables to compare.

The table is read here from /proc/PID/mountinfo, without the code under test.
"""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from holdfast.system.storage.filesystem import make_filesystem
from tests.faults.mounting import mount_image

SIZES = {
    "ext4": 32 << 20,
    "xfs": 300 << 20,
    "btrfs": 109 << 20,
}


def run(*command: object) -> str:
    """A command that must succeed; its standard output."""
    words = [str(word) for word in command]
    done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout.strip()


@dataclass
class MountBench:
    """A folder with loop devices, mounts and namespaces; everything is gone when it is left."""

    folder: Path
    namespaces: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._clean = ExitStack()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self.namespaces:
            process.communicate(timeout=20)
        self._clean.close()

    def device(self, name: str, filesystem: str = "ext4") -> str:
        """A loop device with a new file system on it."""
        size_bytes = SIZES[filesystem]
        image = self.folder / f"{name}.img"
        with image.open("wb") as file:
            file.truncate(size_bytes)
        make_filesystem(filesystem, str(image), "", str(uuid.uuid4()))
        device = run("losetup", "--find", "--show", image)
        self._clean.callback(run, "losetup", "--detach", device)
        return device

    def mount(self, source: object, name: str, *options: object) -> Path:
        """Mount something at a directory of this folder; dismounted at the end, if it is there."""
        path = self.folder / name
        path.mkdir(exist_ok=True, parents=True)
        run("mount", *options, source, path)
        self._clean.callback(subprocess.run, ["umount", str(path)], capture_output=True)
        return path

    def mount_image(self, image: Path, name: str, *options: str) -> Path:
        """The same for an image, on a loop device that goes with its last mount."""
        path = self.folder / name
        path.mkdir(exist_ok=True, parents=True)
        mount_image(image, path, *options)
        self._clean.callback(subprocess.run, ["umount", str(path)], capture_output=True)
        return path

    def namespace(self, propagation: str = "private") -> int:
        """A process in a new mount namespace, a copy of this one; its pid."""
        process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", propagation, "sh", "-c", "echo ready; read x"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        self.namespaces.append(process)
        return process.pid

    def inside(self, pid: int, *command: object) -> str:
        """Run a command in the mount namespace of that process."""
        return run("nsenter", "--mount", "--target", pid, *command)

    def table(self, device: str) -> list[tuple[str, ...]]:
        """The mounts of a loop device in every namespace here, without what may change: numbers.

        Peer groups are numbered in the order of their appearance.
        """
        rows = []
        for index, process in enumerate((None, *self.namespaces)):
            for line in Path(f"/proc/{process.pid if process else 'self'}/mountinfo").read_text(
            ).splitlines():  # fmt: skip
                before, _, after = line.partition(" - ")
                left, right = before.split(), after.split()
                if right[1] == device:
                    rows.append((str(index), left[4], left[3], left[5], right[0], *left[6:]))
        names: dict[str, str] = {}

        def renamed(tag: str) -> str:
            word, colon, number = tag.partition(":")
            return word + colon + names.setdefault(number, f"G{len(names)}") if colon else tag

        return [(*row[:5], *map(renamed, row[5:])) for row in sorted(rows, key=lambda row: row[:4])]


@contextmanager
def held_open(path: Path) -> Iterator[None]:
    """A file that is open for writing meanwhile."""
    with path.open("w"):
        yield
