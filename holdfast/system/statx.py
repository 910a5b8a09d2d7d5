"""statx(2) without asking the storage: attributes as the kernel remembers them.

AT_STATX_DONT_SYNC keeps network file systems and FUSE from being asked, except where resolving
the path itself asks them: use it in expendable children. Python has no statx of its own.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import NamedTuple

_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_AT_NO_AUTOMOUNT = 0x800
_AT_SYMLINK_NOFOLLOW = 0x100
_AT_STATX_DONT_SYNC = 0x4000
_STATX_BASIC_STATS = 0x7FF
_STATX_MNT_ID = 0x1000
"""linux/fcntl.h, linux/stat.h; the mount's number since Linux 5.8."""

_STATX_MNT_ID_UNIQUE = 0x4000
"""Linux 6.8: another number in the place of the mount's."""

_STATX_DIOALIGN = 0x2000
"""Linux 6.1."""
_DIRECT_IO_AT_BYTES = 152
"""Offset of stx_dio_mem_align and stx_dio_offset_align."""

_STRUCTURE_BYTES = 256
_STRUCTURE = struct.Struct("=I12xIIIH2xQ88xIIIIQ")
"""Of struct statx, linux/stat.h: mask, links, user, group, mode, inode, device that a node
represents, device (each major, minor), mount."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.statx.argtypes = (
    *(ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint),
    ctypes.c_char_p,
)


class Remembered(NamedTuple):
    """What is remembered of an inode, and through which mount it was reached."""

    mode: int
    links: int
    inode: int
    device: tuple[int, int]
    mount_id: int
    """0: not told."""
    user_id: int = 0
    group_id: int = 0
    represents: tuple[int, int] = (0, 0)
    """Of a device node: which device."""


def remembered(path: str, *, follow: bool = True) -> Remembered:
    """The attributes of what a path leads to. Raises OSError; may block while resolving it."""
    buffer = _asked(path, _STATX_BASIC_STATS | _STATX_MNT_ID, 0 if follow else _AT_SYMLINK_NOFOLLOW)
    mask, links, user, group, mode, inode, *devices, mount_id = _STRUCTURE.unpack_from(buffer)
    represents, device = (devices[0], devices[1]), (devices[2], devices[3])
    told_mount = mount_id if mask & _STATX_MNT_ID else 0
    return Remembered(mode, links, inode, device, told_mount, user, group, represents)


def direct_io_offset_unit(path: str) -> int:
    """What offsets and lengths of direct I/O must be a multiple of; 0: not told, or not possible.

    Raises OSError; may block while resolving the path.
    """
    buffer = _asked(path, _STATX_DIOALIGN)
    mask = struct.unpack_from("=I", buffer)[0]
    unit: int = struct.unpack_from("=II", buffer, _DIRECT_IO_AT_BYTES)[1]
    return unit if mask & _STATX_DIOALIGN else 0


def number_for_ever(mount: int) -> int:
    """The number of the mount a descriptor is open on, which no other one ever gets; a younger
    mount has a greater one. 0: the kernel knows none (before Linux 6.8). Asks no file system.
    """
    try:
        buffer = _asked("", _STATX_MNT_ID_UNIQUE, _AT_EMPTY_PATH, mount)
    except OSError:
        return 0
    mask, *_, mount_id = _STRUCTURE.unpack_from(buffer)
    return int(mount_id) if mask & _STATX_MNT_ID_UNIQUE else 0


def _asked(
    path: str, wanted: int, flags: int = 0, start: int = _AT_FDCWD
) -> ctypes.Array[ctypes.c_char]:
    """A struct statx with what is `wanted` and known. Raises OSError."""
    buffer = ctypes.create_string_buffer(_STRUCTURE_BYTES)
    flags |= _AT_STATX_DONT_SYNC | _AT_NO_AUTOMOUNT
    if _libc.statx(start, os.fsencode(path), flags, wanted, buffer) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return buffer
