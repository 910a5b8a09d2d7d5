"""Contents of files that are carried over: copied, holes stay holes, and compared.

Blocks when the storage does: for expendable children only.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_PART_BYTES = 1 << 20


def copy_contents(source: str | Path, target: int) -> None:
    """Fill an empty file with what is in another one. Raises OSError."""
    reading = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        copy_between(reading, target)
    finally:
        os.close(reading)


def copy_between(reading: int, target: int) -> None:
    """As `copy_contents`, from an open file, whose offset stays what it is. Raises OSError."""
    size = os.fstat(reading).st_size
    for start, end in _data(reading, size):
        for position in range(start, end, _PART_BYTES):
            part = os.pread(reading, min(_PART_BYTES, end - position), position)
            written = 0
            while written < len(part):
                written += os.pwrite(target, part[written:], position + written)
    os.ftruncate(target, size)


def same_contents(descriptor: int, other: Path) -> bool:
    """Whether two files have the same bytes. Raises OSError."""
    with (
        open(other, "rb", buffering=0) as right,
        open(f"/proc/self/fd/{descriptor}", "rb", buffering=0) as left,
    ):
        if os.fstat(left.fileno()).st_size != os.fstat(right.fileno()).st_size:
            return False
        while True:
            part = left.read(_PART_BYTES)
            if part != right.read(_PART_BYTES):
                return False
            if not part:
                return True


def _data(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Ranges that are not holes."""
    start = 0
    while start < size:
        try:
            start = os.lseek(descriptor, start, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            yield start, size
            return
        end = size
        with suppress(OSError):
            end = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, end
        start = end
