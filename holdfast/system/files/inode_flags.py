"""Flags and further attributes of inodes (chattr(1)), some of which keep a file from being opened.

Through descriptors only: the file is the one that was looked at, whatever its name leads to.
"""

from __future__ import annotations

import fcntl
import struct
from typing import NamedTuple

_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602  # FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, 64 bit
_GET_FURTHER, _SET_FURTHER = 0x801C581F, 0x401C5820  # FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR
_FURTHER = struct.Struct("=5I8x")

IMMUTABLE, APPEND_ONLY = 0x10, 0x20  # <linux/fs.h>, FS_IMMUTABLE_FL, FS_APPEND_FL
PROTECTING = IMMUTABLE | APPEND_ONLY
"""After these a file cannot be opened as it was."""


def flags_of(descriptor: int) -> int:
    """All flags of an open file (no O_PATH descriptor); 0 where the file system has none."""
    try:
        return read_flags(descriptor)
    except OSError:
        return 0


def set_flags(descriptor: int, flags: int) -> None:
    """Give an open file exactly these flags. Raises OSError; CAP_LINUX_IMMUTABLE for i and a."""
    fcntl.ioctl(descriptor, _SET_FLAGS, flags.to_bytes(8, "little"))


def read_flags(descriptor: int) -> int:
    """As `flags_of`. Raises OSError where the file system has none."""
    answer = fcntl.ioctl(descriptor, _GET_FLAGS, bytes(8))
    return int.from_bytes(answer[:4], "little")


class FurtherAttributes(NamedTuple):
    """What struct fsxattr of <linux/fs.h> says of an inode."""

    flags: int
    """FS_XFLAG_…"""
    extent_bytes: int
    extents: int
    project: int
    copied_extent_bytes: int


def further_attributes(descriptor: int) -> FurtherAttributes:
    """Those of an open file. Raises OSError where the file system has none."""
    answer = fcntl.ioctl(descriptor, _GET_FURTHER, bytes(_FURTHER.size))
    return FurtherAttributes(*_FURTHER.unpack(answer))


def set_further_attributes(descriptor: int, attributes: FurtherAttributes) -> None:
    """Give an open file exactly these. Raises OSError."""
    fcntl.ioctl(descriptor, _SET_FURTHER, _FURTHER.pack(*attributes))
