"""Fault: storage hangs, and whoever takes over its request hangs as well, in other storage.

The bytes of a write are in the buffer of the thread that read it; the third thread to carry it out
must find them there, and not in the buffer of the second one, which read nothing.
"""

from __future__ import annotations

import mmap
import os
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.model.volume import JournalMode
from tests.faults import FuseLeg, hanging, own_disk
from tests.kernel.fault.bench import HANG_SECONDS, Bench, fuse_leg
from tests.kernel.fault.cells import FLUSHING

BLOCK_BYTES = 4096
BEFORE, AFTER = b"before" * 700, b"after!" * 700
"""Longer than a block."""


@dataclass(frozen=True)
class Hanging:
    """What hangs at the same time; a request comes to it in this order."""

    legs: int
    state: bool = False


STORIES = {
    "one leg, then the other": Hanging(2),
    "a leg, then gate.json": Hanging(1, state=True),
}


def write_directly(path: Path, source: Path, content: bytes) -> subprocess.Popen[bytes]:
    """A process that writes the file's first block past the page cache: one request."""
    source.write_bytes(content[:BLOCK_BYTES])
    command = ["dd", f"if={source}", f"of={path}", f"bs={BLOCK_BYTES}", "conv=notrunc"]
    return subprocess.Popen([*command, "oflag=direct", "status=none"])


def read_directly(path: Path) -> bytes:
    """The first block, past the page cache."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, BLOCK_BYTES) as block:
            assert os.preadv(descriptor, [block], 0) == BLOCK_BYTES
            return bytes(block)
    finally:
        os.close(descriptor)


def let_hang(story: Hanging, legs: tuple[FuseLeg, ...], state: Path) -> Callable[[], None]:
    """From now on writes to all of that hang; what is returned ends it."""
    with ExitStack() as stack:
        for leg in legs[: story.legs]:
            leg.hang(on=("write",))
            stack.callback(leg.serve)
        if story.state:
            stack.enter_context(hanging(state))
        return stack.pop_all().close


@pytest.mark.parametrize("story", list(STORIES))
def test_what_was_to_be_written_is_written(
    settings: Settings, ram_directory: Path, story: str
) -> None:
    """Also by the third thread that carries the request out."""
    told = STORIES[story]
    with (
        own_disk(settings.state_directory, ram_directory / "state.image"),
        fuse_leg(ram_directory) as first,
        fuse_leg(ram_directory, "other") as second,
        Bench(
            settings,
            ram_directory,
            [first.url, second.url],
            journal=JournalMode.NONE,
            hang_timeout_seconds=HANG_SECONDS,
        ) as bench,
    ):
        bench.images = {leg.url: leg.image for leg in (first, second)}
        file, source = bench.mountpoint / "block", ram_directory / "block"
        file.touch()
        assert write_directly(file, source, BEFORE).wait() == 0
        assert read_directly(file) == BEFORE[:BLOCK_BYTES]
        go_on = let_hang(told, (first, second), settings.state_directory)
        try:
            writer = write_directly(file, source, AFTER)
            if told.legs == 2:
                bench.wait_until_held()
            else:
                assert writer.wait(30) == 0
        finally:
            go_on()
        assert writer.wait(30) == 0
        assert read_directly(file) == AFTER[:BLOCK_BYTES]
        bench.wait_until_healthy()
        assert read_directly(file) == AFTER[:BLOCK_BYTES]
        bench.start(FLUSHING)
        bench.check(2)
