"""How much of a file lies in extents that other files have as well (reflinks, snapshots).

A copy has its own of each: it takes more room than its source. Asks for the map of extents only;
reads no data.
"""

from __future__ import annotations

from holdfast.system.files.beneath import path_to
from holdfast.system.files.extents import extents
from holdfast.system.files.statfs import file_system_type

_FILE_SYSTEMS = frozenset({0x9123683E, 0x58465342, 0xCA451A4E})
"""<linux/magic.h>: btrfs, XFS, bcachefs."""


def can_share(root: int) -> bool:
    """Whether files of the file system below this descriptor can have extents in common."""
    return file_system_type(path_to(root)) in _FILE_SYSTEMS


def shared_bytes(descriptor: int) -> int:
    """Bytes of the file that other files have as well; 0 where that is not told."""
    try:
        return sum(length for length, is_shared in extents(descriptor) if is_shared)
    except OSError:
        return 0
