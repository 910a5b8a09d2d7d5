"""A real block device made of a small image, for `block:` legs: `LoopLeg`."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.waiting import wait_until


class LoopLeg:
    """A loop device over `image` (created sparse when absent); use `url` as a leg."""

    def __init__(self, image: Path, size_bytes: int | None = None) -> None:
        self.image = image
        self.device = Path()
        if not image.exists():
            if size_bytes is None:
                raise ValueError(f"{image} does not exist and no size was given")
            with image.open("wb") as file:
                file.truncate(size_bytes)

    @property
    def url(self) -> str:
        """The container's URL."""
        return f"block:{self.device}"

    def __enter__(self) -> Self:
        command = ["losetup", "--find", "--show", "--sector-size=4096", str(self.image)]
        answer = subprocess.run(command, check=True, capture_output=True, text=True)
        self.device = Path(answer.stdout.strip())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        subprocess.run(["losetup", "--detach", str(self.device)], check=True)
        # Somebody who looks at every device had it open: it goes when they close it.
        wait_until(lambda: not self._is_attached(), f"{self.device} is still attached")

    def _is_attached(self) -> bool:
        """Whether the image, and no other that came after it, is in the device."""
        entry = Path("/sys/block", self.device.name, "loop/backing_file")
        try:
            return entry.read_text().rstrip("\n").removesuffix(" (deleted)") == str(self.image)
        except OSError:
            return False

    def grow(self, size_bytes: int) -> None:
        """The administrator enlarges the disk online."""
        with self.image.open("r+b") as file:
            file.truncate(size_bytes)
        subprocess.run(["losetup", "--set-capacity", str(self.device)], check=True)
