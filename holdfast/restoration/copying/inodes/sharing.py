"""How much of a file lies in extents that other files have as well (reflinks, snapshots).

A copy has its own of each: it takes more room than its source. Asks for the map of extents only;
reads no data.
"""

from __future__ import annotations

import fcntl
import struct
from collections.abc import Iterator

from holdfast.system.files.beneath import path_to
from holdfast.system.files.statfs import file_system_type

_FILE_SYSTEMS = frozenset({0x9123683E, 0x58465342, 0xCA451A4E})
"""<linux/magic.h>: btrfs, XFS, bcachefs."""
_GET_EXTENTS = 0xC020660B  # FS_IOC_FIEMAP
_HEADER = struct.Struct("=QQIIII")
"""struct fiemap of <linux/fiemap.h>: start, length, flags, mapped, room, reserved"""
_EXTENT = struct.Struct("=QQQ16xI12x")
"""struct fiemap_extent: in the file, on the device, length in bytes, flags"""
_LAST, _SHARED = 0x1, 0x2000
_AT_ONCE = 512


def can_share(root: int) -> bool:
    """Whether files of the file system below this descriptor can have extents in common."""
    return file_system_type(path_to(root)) in _FILE_SYSTEMS


def shared_bytes(descriptor: int) -> int:
    """Bytes of the file that other files have as well; 0 where that is not told."""
    try:
        return sum(length for length, flags in _extents(descriptor) if flags & _SHARED)
    except OSError:
        return 0


def _extents(descriptor: int) -> Iterator[tuple[int, int]]:
    """(bytes, flags) of each."""
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
            yield length, flags
            if flags & _LAST:
                return
            start = place + length
