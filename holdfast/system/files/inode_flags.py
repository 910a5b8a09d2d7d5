"""Inode flags after which a file cannot be opened as it was: chattr(1), i and a.

Through descriptors only: the file is the one that was looked at, whatever its name leads to.
"""

from __future__ import annotations

import fcntl

_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602  # FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, 64 bit
IMMUTABLE, APPEND_ONLY = 0x10, 0x20  # <linux/fs.h>, FS_IMMUTABLE_FL, FS_APPEND_FL
PROTECTING = IMMUTABLE | APPEND_ONLY


def flags_of(descriptor: int) -> int:
    """All flags of an open file (no O_PATH descriptor); 0 where the file system has none."""
    try:
        answer = fcntl.ioctl(descriptor, _GET_FLAGS, bytes(8))
    except OSError:
        return 0
    return int.from_bytes(answer[:4], "little")


def set_flags(descriptor: int, flags: int) -> None:
    """Give an open file exactly these flags. Raises OSError; CAP_LINUX_IMMUTABLE for i and a."""
    fcntl.ioctl(descriptor, _SET_FLAGS, flags.to_bytes(8, "little"))
