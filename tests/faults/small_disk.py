"""A small file system of its own that can be filled and freed: `SmallDisk`."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.faults.mounting import mount, unmount

MS_REMOUNT = 32
MS_RDONLY = 1


class SmallDisk:
    """A tmpfs of `size_bytes` mounted at `path`. Leaves a detached, empty directory behind."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self.path = path
        self.size_bytes = size_bytes

    def __enter__(self) -> Self:
        self.path.mkdir(parents=True, exist_ok=True)
        mount("small", self.path, "tmpfs", f"size={self.size_bytes},mode=700")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        unmount(self.path)

    def free_bytes(self) -> int:
        """Room that is left."""
        room = os.statvfs(self.path)
        return room.f_bavail * room.f_frsize

    def fill(self) -> None:
        """Take every block that is left: the next allocation anywhere on it gets ENOSPC."""
        with (self.path / "ballast").open("ab", buffering=0) as file:
            while _write_block(file.fileno()):
                pass

    def free(self) -> None:
        """Give back what `fill` took."""
        (self.path / "ballast").unlink(missing_ok=True)

    def grow(self, size_bytes: int) -> None:
        """The administrator enlarges the disk."""
        mount("small", self.path, "tmpfs", f"size={size_bytes},mode=700", MS_REMOUNT)
        self.size_bytes = size_bytes

    def read_only(self, enabled: bool) -> None:
        """Remount read-only or back. EBUSY while a file is open for writing."""
        flags = MS_REMOUNT | (MS_RDONLY if enabled else 0)
        mount("small", self.path, "tmpfs", f"size={self.size_bytes},mode=700", flags)


def _write_block(descriptor: int) -> bool:
    try:
        os.write(descriptor, bytes(1 << 16))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False
    return True
