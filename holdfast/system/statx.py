"""statx(2) without asking the storage: attributes as the kernel remembers them.

AT_STATX_DONT_SYNC keeps network file systems and FUSE from being asked, except where resolving
the path itself asks them: use it in expendable children. Python has no statx of its own.
"""

from __future__ import annotations

import ctypes
import os
import struct
from dataclasses import dataclass

_AT_FDCWD = -100
_AT_NO_AUTOMOUNT = 0x800
_AT_SYMLINK_NOFOLLOW = 0x100
_AT_STATX_DONT_SYNC = 0x4000
_STATX_BASIC_STATS = 0x7FF
_STATX_MNT_ID = 0x1000
"""linux/fcntl.h, linux/stat.h; the mount's number since Linux 5.8."""

_STRUCTURE_BYTES = 256
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Attributes:
    """What is remembered of an inode, and through which mount it was reached."""

    mode: int
    links: int
    inode: int
    device: tuple[int, int]
    mount_id: int
    """0: not told."""


def remembered(path: str, *, follow: bool = True) -> Attributes:
    """The attributes of what a path leads to. Raises OSError; may block while resolving it."""
    buffer = ctypes.create_string_buffer(_STRUCTURE_BYTES)
    flags = _AT_STATX_DONT_SYNC | _AT_NO_AUTOMOUNT | (0 if follow else _AT_SYMLINK_NOFOLLOW)
    wanted = _STATX_BASIC_STATS | _STATX_MNT_ID
    if _libc.statx(_AT_FDCWD, os.fsencode(path), flags, wanted, buffer) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    mask = struct.unpack_from("=I", buffer, 0)[0]
    links, mode, inode = struct.unpack_from("=I8xHxxQ", buffer, 16)
    major, minor, mount_id = struct.unpack_from("=IIQ", buffer, 136)
    return Attributes(mode, links, inode, (major, minor), mount_id if mask & _STATX_MNT_ID else 0)
