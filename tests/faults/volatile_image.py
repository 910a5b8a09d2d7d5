"""An image file with, on demand, a volatile cache like a disk's: lost at a crash, kept by a flush.

While `volatile`, a write stays in memory as whole 4 KiB blocks until `flush`; `lose` drops what
was not flushed, or lets a random part of it survive, in no order, as disks do.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable

BLOCK_BYTES = 4096
FALLOC_FL_KEEP_SIZE = 1
FALLOC_FL_PUNCH_HOLE = 2
FALLOC_FL_ZERO_RANGE = 16

_libc = ctypes.CDLL(None, use_errno=True)


class VolatileImage:
    """An image file, read and written at any offset and length."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self.volatile = False
        self._blocks: dict[int, bytes] = {}

    @property
    def unflushed(self) -> int:
        """Number of 4 KiB blocks that only exist in memory."""
        return len(self._blocks)

    def facts(self) -> os.stat_result:
        """Size and blocks of the image file."""
        return os.fstat(self.descriptor)

    def read(self, offset: int, size: int) -> bytes:
        """Bytes at `offset`, fewer at the end of the file. Raises OSError."""
        data = os.pread(self.descriptor, size, offset)
        if not self._blocks or not data:
            return data
        merged = bytearray(data)
        for index in range(offset // BLOCK_BYTES, -(-(offset + len(data)) // BLOCK_BYTES)):
            block = self._blocks.get(index)
            if block is None:
                continue
            start = max(index * BLOCK_BYTES, offset)
            end = min((index + 1) * BLOCK_BYTES, offset + len(data))
            part = block[start - index * BLOCK_BYTES : end - index * BLOCK_BYTES]
            merged[start - offset : end - offset] = part
        return bytes(merged)

    def write(self, offset: int, data: bytes) -> None:
        """Write all of it, to memory while volatile. Raises OSError."""
        if not self.volatile:
            view = memoryview(data)
            while view:
                written = os.pwrite(self.descriptor, view, offset)
                view, offset = view[written:], offset + written
            return
        size = self.facts().st_size
        if offset + len(data) > size:
            os.ftruncate(self.descriptor, offset + len(data))
        end = offset + len(data)
        for index in range(offset // BLOCK_BYTES, -(-end // BLOCK_BYTES)):
            base = index * BLOCK_BYTES
            start, stop = max(base, offset), min(base + BLOCK_BYTES, end)
            block = bytearray(self.read(base, BLOCK_BYTES).ljust(BLOCK_BYTES, b"\0"))
            block[start - base : stop - base] = data[start - offset : stop - offset]
            self._blocks[index] = bytes(block)

    def flush(self) -> None:
        """Everything written so far is durable when it returns. Raises OSError."""
        self._settle(lambda: True)
        os.fdatasync(self.descriptor)

    def lose(self, survives: Callable[[], bool]) -> None:
        """Power is gone: each unflushed block is lost unless `survives()`."""
        self._settle(survives)

    def _settle(self, survives: Callable[[], bool]) -> None:
        size = self.facts().st_size
        blocks, self._blocks = self._blocks, {}
        for index, block in blocks.items():
            if survives():
                room = max(0, size - index * BLOCK_BYTES)
                os.pwrite(self.descriptor, block[:room], index * BLOCK_BYTES)

    def allocate(self, offset: int, length: int, mode: int) -> None:
        """fallocate(2): punch or zero; zeroes are written while volatile. Raises OSError."""
        if mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE):
            raise OSError(errno.EOPNOTSUPP, "mode not served")
        if self.volatile and mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE):
            length = min(length, max(0, self.facts().st_size - offset))
            self.write(offset, bytes(length))
            return
        values = (ctypes.c_longlong(offset), ctypes.c_longlong(length))
        if _libc.fallocate(self.descriptor, mode, *values):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), self.path)

    def resize(self, size_bytes: int) -> None:
        """Truncate or extend. Raises OSError."""
        os.ftruncate(self.descriptor, size_bytes)
        self._blocks = {
            index: block
            for index, block in self._blocks.items()
            if index * BLOCK_BYTES < size_bytes
        }

    def seek(self, offset: int, whence: int) -> int:
        """lseek(2) for holes and data. Raises OSError."""
        return os.lseek(self.descriptor, offset, whence)
