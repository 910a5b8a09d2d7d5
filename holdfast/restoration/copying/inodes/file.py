"""Copying one regular file: contents, and the properties that are given while it is open.

Must never look a name up: both sides are open already.
"""

from __future__ import annotations

import os
from contextlib import suppress

from holdfast.late_dataclass import dataclass
from holdfast.restoration.copying.inodes.inode import Properties, give, properties_of
from holdfast.restoration.copying.inodes.sharing import shared_bytes
from holdfast.system.files.file_contents import make_equal

_COMPRESSION = "btrfs.compression"  # btrfs-property(8)


@dataclass(frozen=True, slots=True)
class FileCopied:
    """What was copied of one file."""

    written_bytes: int
    shared_bytes: int
    """Of the source, in extents that other files have as well; 0 when it was not asked for."""
    properties: Properties
    lost: list[str]
    """Properties that the target's file system could not keep."""


def copy_contents(reading: int, writing: int, is_new: bool, sharing: bool = False) -> FileCopied:
    """Make the target's contents and properties (but the late flags) equal to the source's.

    Both are descriptors of regular files. Meanwhile the target is root's alone, and no set-id bit
    counts. `sharing`: whether to find out what the source shares with others. Raises OSError.
    """
    if not is_new:
        os.fchmod(writing, 0o600)
    properties = properties_of(reading)
    lost = give(writing, properties)
    if is_new:
        _choose_compression(reading, writing)
    written_bytes = make_equal(reading, writing, is_new=is_new)
    shared = shared_bytes(reading) if sharing else 0
    return FileCopied(written_bytes, shared, properties, lost)


def _choose_compression(reading: int, writing: int) -> None:
    """On btrfs: let what is written next be compressed as the source is."""
    with suppress(OSError):
        os.setxattr(writing, _COMPRESSION, os.getxattr(reading, _COMPRESSION))
