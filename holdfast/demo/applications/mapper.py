"""A writer through a shared memory map: checksummed pages, each durable (msync) in its turn.

It makes no write(2) at all: the kernel's write-back is the only way its data can take. An error of
the storage below a page that it touches would kill it with SIGBUS.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from pathlib import Path

from holdfast.demo.applications.runner import GarbledError, main

FILE_NAME = "mapped.pages"
PAGE_BYTES = 4096
PAGES = 256
_STRIDE = 101
"""Coprime to PAGES: consecutive operations touch distant pages, and every page in its turn."""

_HEADER = struct.Struct("<QII")


def page_of(number: int) -> int:
    """The page that operation `number` writes."""
    return number * _STRIDE % PAGES


def content(number: int) -> bytes:
    """The page that operation `number` leaves: number, page, checksum, pattern."""
    pattern = struct.pack("<Q", number * 0x9E3779B97F4A7C15 % (1 << 64))
    body = pattern * ((PAGE_BYTES - _HEADER.size) // len(pattern))
    checksum = zlib.crc32(body, zlib.crc32(struct.pack("<QI", number, page_of(number))))
    return _HEADER.pack(number, page_of(number), checksum) + body


class Mapper:
    """Writes pages of FILE_NAME in `directory` through a map, after what is there already."""

    def __init__(self, directory: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(directory / FILE_NAME, flags, 0o644)
        try:
            if os.fstat(descriptor).st_size < PAGES * PAGE_BYTES:
                os.posix_fallocate(descriptor, 0, PAGES * PAGE_BYTES)
                os.fsync(descriptor)
            self._map = mmap.mmap(descriptor, PAGES * PAGE_BYTES)
        finally:
            os.close(descriptor)
        starts = range(0, PAGES * PAGE_BYTES, PAGE_BYTES)
        self._number: int = max(_HEADER.unpack_from(self._map, start)[0] for start in starts)

    def operate(self) -> int:
        """Write the next page and msync it. Raises OSError."""
        number = self._number + 1
        start = page_of(number) * PAGE_BYTES
        previous = _HEADER.unpack_from(self._map, start)[0]
        if self._map[start : start + PAGE_BYTES] != (content(previous) if previous else _EMPTY):
            raise GarbledError(f"page {page_of(number)} is garbled")
        self._map[start : start + PAGE_BYTES] = content(number)
        self._map.flush(start, PAGE_BYTES)
        self._number = number
        return number

    def close(self) -> None:
        """Unmap the file."""
        self._map.close()


_EMPTY = bytes(PAGE_BYTES)


def verify(directory: Path, acknowledged: int) -> list[str]:
    """Every page that is garbled or older than what was acknowledged. Reads the storage.

    The one page that comes after the last acknowledged may be anything: it is overwritten in place.
    """
    try:
        with (directory / FILE_NAME).open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            stored = file.read()
    except OSError as error:
        return [f"{FILE_NAME} cannot be read: {error}"]
    if len(stored) != PAGES * PAGE_BYTES:
        return [f"{FILE_NAME} has {len(stored)} bytes instead of {PAGES * PAGE_BYTES}"]
    recent = range(max(1, acknowledged - PAGES + 1), acknowledged + 1)
    newest = {page_of(number): number for number in recent}
    faults = []
    for page in range(PAGES):
        if page == page_of(acknowledged + 1):
            continue
        found = stored[page * PAGE_BYTES : (page + 1) * PAGE_BYTES]
        number = _HEADER.unpack_from(found)[0]
        if found != (content(number) if number else _EMPTY) or (number and page_of(number) != page):
            faults.append(f"page {page} is garbled (it says {number})")
        elif number < newest.get(page, 0):
            faults.append(f"page {page} holds {number}; {newest[page]} was acknowledged")
    return faults


if __name__ == "__main__":
    main("mapper", Mapper, verify)
