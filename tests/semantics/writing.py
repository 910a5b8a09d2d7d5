"""Single blocks of a file on a volume, past the page cache, by processes that may have to wait."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from pathlib import Path

BLOCK_BYTES = 4096

_PROGRAM = """
import mmap, os, sys
path, number, value, sync = sys.argv[1], *map(int, sys.argv[2:])
file = os.open(path, os.O_RDWR | os.O_DIRECT)
block = mmap.mmap(-1, 4096)
block[:] = value.to_bytes(8, "little") * 512
try:
    os.pwrite(file, block, number * 4096)
    if sync:
        os.fdatasync(file)
except OSError as error:
    sys.exit(error.errno)
"""


def prepare(path: Path, blocks: int) -> None:
    """A file of so many blocks, allocated and durable, so that later writes only touch data."""
    with path.open("wb") as file:
        file.write(bytes(blocks * BLOCK_BYTES))
        file.flush()
        os.fsync(file.fileno())


def write(path: Path, number: int, value: int, *, sync: bool = False) -> subprocess.Popen[bytes]:
    """A process that fills a block with a value; its exit status is the errno, 0 for success."""
    words = [str(number), str(value), str(int(sync))]
    return subprocess.Popen([sys.executable, "-c", _PROGRAM, str(path), *words])


def read(path: Path, number: int) -> int:
    """The value that fills a block; fails when it is not one value."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    block = mmap.mmap(-1, BLOCK_BYTES)
    try:
        assert os.preadv(descriptor, [block], number * BLOCK_BYTES) == BLOCK_BYTES
    finally:
        os.close(descriptor)
    assert block[:] == block[:8] * 512, "a block is torn"
    return int.from_bytes(block[:8], "little")
