"""A volume with a history and a copy whose legs can be lost for good, and who writes to it."""

from __future__ import annotations

import mmap
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.service import Holdfast, NewVolume
from tests.faults.fuse_leg import FuseLeg
from tests.kernel.gate.kept_volume import WritingThread
from tests.kernel.volume.stack import SIZE
from tests.semantics.writing import BLOCK_BYTES, prepare, read
from tests.waiting import wait_until

BLOCKS = 64
_PACE_SECONDS = 0.005


@dataclass
class Lossy:
    """It is attached, as `shop`."""

    holdfast: Holdfast
    folder: Path
    mount: Path
    legs: tuple[FuseLeg, ...]

    @property
    def copy_url(self) -> str:
        return f"file:{self.folder}/copy.img"

    @property
    def copy_image(self) -> Path:
        return self.folder / "copy.img"

    def lose(self) -> None:
        """Every leg, and what it was in: nothing of it comes back."""
        for leg in self.legs:
            leg.kill()
            leg.image.unlink()

    def wait_until_held(self) -> None:
        wait_until(lambda: self.is_held)

    @property
    def is_held(self) -> bool:
        gate = self.holdfast.show_volume("shop").gate
        return gate is not None and gate.held


@contextmanager
def lossy(holdfast: Holdfast, folder: Path, legs: int = 1, hold: float = 40.0) -> Iterator[Lossy]:
    """A volume in use, each leg on a server that can die, with a history and a copy."""
    servers = [FuseLeg(folder / f"{number}.backing", folder / f"{number}.img", SIZE + (1 << 20))
               for number in range(legs)]  # fmt: skip
    mount = folder / "mnt-shop"
    for server in servers:
        server.start()
    try:
        holdfast.create_volume(
            NewVolume(
                name="shop",
                size_bytes=SIZE,
                mount_path=str(mount),
                leg_urls=tuple(server.url for server in servers),
                filesystem="ext4",
                hang_timeout_seconds=2.0,
                hold_timeout_seconds=hold,
            )
        )
        holdfast.histories.keep("shop", str(folder / "history"), None, None)
        found = Lossy(holdfast, folder, mount, tuple(servers))
        holdfast.histories.copies.add("shop", found.copy_url)
        yield found
    finally:
        try:
            with suppress(HoldfastError):
                holdfast.attach_volume("shop")
            holdfast.delete_volume("shop")
        finally:
            for server in servers:
                server.__exit__(None, None, None)


class SyncedWriter(WritingThread):
    """Writes single blocks past the page cache, each followed by fdatasync, and knows what was
    acknowledged."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.acknowledged = dict.fromkeys(range(BLOCKS), 0)
        self._choice, self._block = random.Random(7), mmap.mmap(-1, BLOCK_BYTES)
        prepare(path, BLOCKS)
        self._file = os.open(path, os.O_RDWR | os.O_DIRECT)

    def write_next(self) -> None:
        number, value = self._choice.randrange(BLOCKS), self.written + 1
        self._block[:] = value.to_bytes(8, "little") * (BLOCK_BYTES // 8)
        os.pwrite(self._file, self._block, number * BLOCK_BYTES)
        os.fdatasync(self._file)
        self.acknowledged[number] = value

    def __exit__(self, *of: object) -> None:
        try:
            super().__exit__(*of)
        finally:
            os.close(self._file)

    def check(self) -> None:
        """Everything that was acknowledged is there."""
        assert {number: read(self.path, number) for number in range(BLOCKS)} == self.acknowledged


class GentleWriter(SyncedWriter):
    """The same at a pace with which a copy keeps up on a host that has other work."""

    def write_next(self) -> None:
        super().write_next()
        time.sleep(_PACE_SECONDS)
