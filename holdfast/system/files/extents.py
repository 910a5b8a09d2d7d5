"""Where the bytes of an open file lie, as its file system tells (FIEMAP). Reads no data."""

from __future__ import annotations

import fcntl
import struct
from collections.abc import Iterator

_GET_EXTENTS = 0xC020660B  # FS_IOC_FIEMAP
_HEADER = struct.Struct("=QQIIII")
"""struct fiemap of <linux/fiemap.h>: start, length, flags, mapped, room, reserved"""
_EXTENT = struct.Struct("=QQQ16xI12x")
"""struct fiemap_extent: in the file, on the device, length in bytes, flags"""
_LAST, _SHARED = 0x1, 0x2000
_AT_ONCE = 512


def extents(descriptor: int) -> Iterator[tuple[int, bool]]:
    """Length in bytes of each, and whether other files have it as well. Raises OSError."""
    start = 0
    while True:
        request = _HEADER.pack(start, (1 << 64) - 1 - start, 0, 0, _AT_ONCE, 0)
        answer = bytearray(request + bytes(_AT_ONCE * _EXTENT.size))
        fcntl.ioctl(descriptor, _GET_EXTENTS, answer)
        mapped = _HEADER.unpack_from(answer)[3]
        if not mapped:
            return
        for number in range(mapped):
            place, _, length, flags = _EXTENT.unpack_from(
                answer, _HEADER.size + number * _EXTENT.size
            )
            yield length, bool(flags & _SHARED)
            if flags & _LAST:
                return
            start = place + length
