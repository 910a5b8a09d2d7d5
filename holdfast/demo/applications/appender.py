"""An appender: numbered, checksummed lines, each durable (fdatasync) before it is acknowledged.

Like a write-ahead log or a mail spool. From time to time it reads one of its lines back from the
storage, past the page cache.
"""

from __future__ import annotations

import os
import random
import zlib
from contextlib import suppress
from pathlib import Path

from holdfast.demo.applications.runner import GarbledError, main

FILE_NAME = "appended.log"
LINE_BYTES = 64
READ_BACK_EVERY = 16


def line(number: int) -> bytes:
    """The line of that number: always 64 bytes, its checksum at the end."""
    body = f"{number:016d} holdfast ".encode().ljust(LINE_BYTES - 9, b".")
    return body + f"{zlib.crc32(body):08x}\n".encode()


class Appender:
    """Appends to FILE_NAME in `directory`, after what is there already."""

    def __init__(self, directory: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(directory / FILE_NAME, flags, 0o644)
        self._number = os.fstat(self._descriptor).st_size // LINE_BYTES
        # After a crash the end may be torn: nobody was told that it is durable.
        while self._number and self._read(self._number) != line(self._number):
            self._number -= 1
        if os.fstat(self._descriptor).st_size != self._number * LINE_BYTES:
            os.ftruncate(self._descriptor, self._number * LINE_BYTES)
        self._chance = random.Random()

    def operate(self) -> int:
        """Append the next line. Raises OSError; the line is taken back then where possible."""
        number = self._number + 1
        try:
            if os.write(self._descriptor, line(number)) != LINE_BYTES:
                raise OSError("short write")
            os.fdatasync(self._descriptor)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._number * LINE_BYTES)
            raise
        self._number = number
        if number % READ_BACK_EVERY == 0:
            self._read_back(self._chance.randint(1, number))
        return number

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _read(self, number: int) -> bytes:
        return os.pread(self._descriptor, LINE_BYTES, (number - 1) * LINE_BYTES)

    def _read_back(self, number: int) -> None:
        offset = (number - 1) * LINE_BYTES
        os.posix_fadvise(self._descriptor, offset & ~4095, 8192, os.POSIX_FADV_DONTNEED)
        found = self._read(number)
        if found != line(number):
            raise GarbledError(f"line {number} reads as {found!r}")


def verify(directory: Path, acknowledged: int) -> list[str]:
    """Every acknowledged line that is missing, garbled or out of order. Reads the storage.

    What comes after the acknowledged lines may be torn: nobody was told that it is durable.
    """
    try:
        with (directory / FILE_NAME).open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            content = file.read()
    except OSError as error:
        return [f"{FILE_NAME} cannot be read: {error}"]
    faults = []
    if len(content) < acknowledged * LINE_BYTES:
        there = len(content) // LINE_BYTES
        faults.append(f"lines {there + 1} to {acknowledged} are lost")
    for number in range(1, min(acknowledged, len(content) // LINE_BYTES) + 1):
        found = content[(number - 1) * LINE_BYTES : number * LINE_BYTES]
        if found != line(number):
            faults.append(f"line {number} reads as {found!r}")
    return faults


if __name__ == "__main__":
    main("appender", Appender, verify)
