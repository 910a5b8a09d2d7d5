"""A file that shares the blocks of another one until either is written (reflink)."""

from __future__ import annotations

import errno
import fcntl

_FICLONE = 0x40049409  # <linux/fs.h>
_CANNOT = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL)


def share_blocks(source: int, target: int) -> bool:
    """Give an empty file the contents of another one, without copying; False: the file system
    cannot, or they lie on two. Not durable. Raises OSError."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno in _CANNOT:
            return False
        raise
    return True
