"""Room on the disk of the record: what others keep there must not be pushed off it.

The journals of gates, the catalog and receipts lie on the same disk.
"""

from __future__ import annotations

import errno
import os

_KEPT_BYTES = 64 << 20
_KEPT_SHARE = 0.05
"""What stays free of it, the larger of both."""


def is_enough_for(directory: str, wanted_bytes: int) -> bool:
    """Whether so much fits on the disk of a directory. Raises OSError."""
    space = os.statvfs(directory)
    kept_bytes = max(_KEPT_BYTES, int(space.f_blocks * space.f_frsize * _KEPT_SHARE))
    return space.f_bavail * space.f_frsize >= wanted_bytes + (kept_bytes if wanted_bytes else 0)


def claim(directory: str, wanted_bytes: int) -> None:
    """Raises OSError ENOSPC before it is begun to write what does not fit."""
    if not is_enough_for(directory, wanted_bytes):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), directory)
