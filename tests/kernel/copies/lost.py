"""A volume with a history and a copy whose legs can be lost for good, and who writes to it."""

from __future__ import annotations

import mmap
import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.service import Holdfast, NewVolume
from tests.faults.fuse_leg import FuseLeg
from tests.kernel.volume.stack import SIZE
from tests.semantics.writing import BLOCK_BYTES, prepare, read
from tests.waiting import wait_until

BLOCKS = 64


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


class SyncedWriter:
    """Writes single blocks past the page cache, each followed by fdatasync, and knows what was
    acknowledged. An error at it is an error of the test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.acknowledged = dict.fromkeys(range(BLOCKS), 0)
        self.count = 0
        self.error: OSError | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        prepare(path, BLOCKS)

    def _run(self) -> None:
        choice, block = random.Random(7), mmap.mmap(-1, BLOCK_BYTES)
        file = os.open(self.path, os.O_RDWR | os.O_DIRECT)
        try:
            while not self._ending.is_set():
                number, value = choice.randrange(BLOCKS), self.count + 1
                block[:] = value.to_bytes(8, "little") * (BLOCK_BYTES // 8)
                os.pwrite(file, block, number * BLOCK_BYTES)
                os.fdatasync(file)
                self.acknowledged[number] = self.count = value
        except OSError as error:
            self.error = error
        finally:
            os.close(file)

    def __enter__(self) -> SyncedWriter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        assert self.error is None

    def go_on(self, more: int = 20) -> None:
        """Until it has written so many more."""
        until = self.count + more
        wait_until(lambda: self.count >= until or self.error is not None)

    def check(self) -> None:
        """Everything that was acknowledged is there."""
        assert {number: read(self.path, number) for number in range(BLOCKS)} == self.acknowledged
