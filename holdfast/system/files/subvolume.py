"""Subvolumes of btrfs: parts of a file system, each with inode numbers and a device of its own."""

from __future__ import annotations

import fcntl
import struct

SUBVOLUME_ROOT = 256
"""The inode number of every subvolume's root: BTRFS_FIRST_FREE_OBJECTID of <linux/btrfs_tree.h>."""

_INODE_LOOKUP = 0xD0009412  # BTRFS_IOC_INO_LOOKUP
_LOOKUP = struct.Struct("=QQ4080x")
"""struct btrfs_ioctl_ino_lookup_args: the subvolume's number (0: that of the descriptor), inode."""


def subvolume_of(descriptor: int) -> int:
    """The number of the subvolume in which an open file lies; it outlives a rename.

    Raises OSError elsewhere than on btrfs.
    """
    answer = bytearray(_LOOKUP.pack(0, SUBVOLUME_ROOT))
    fcntl.ioctl(descriptor, _INODE_LOOKUP, answer)
    number: int = _LOOKUP.unpack(answer)[0]
    return number
