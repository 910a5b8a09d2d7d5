"""Storage that a restoration leaves as it was: by what it is seen later whether it still is.

A mark is compared, never read. Nobody who can write as root is kept from forging one.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from holdfast.containers import path_of
from holdfast.errors import HoldfastError
from holdfast.system.children.expendable import in_expendable_child

_ANSWER_SECONDS = 5.0
_HEAD_BYTES = 128 << 10
"""The superblocks of ext4 (at 1 KiB), XFS (at 0) and btrfs (at 64 KiB): whoever mounts it for
writing changes them."""
_TAIL_BYTES = 64 << 10
"""The superblocks of a leg."""


def marks_of(urls: Sequence[str]) -> dict[str, str]:
    """The mark of each container; without those that cannot be read. Blocks some seconds where
    storage hangs."""
    found = {}
    for url in urls:
        with suppress(HoldfastError, OSError):
            found[url] = in_expendable_child(partial(mark_of, url), _ANSWER_SECONDS, url)
    return found


def mark_of(url: str) -> str:
    """What changes when anybody writes to a container or exchanges it; of a device: when anybody
    mounts it for writing. For expendable children. Raises OSError, BadInput."""
    descriptor = os.open(path_of(url), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        size_bytes = os.lseek(descriptor, 0, os.SEEK_END)
        tail = max(0, size_bytes - _TAIL_BYTES)
        digest = hashlib.sha256(os.pread(descriptor, _HEAD_BYTES, 0))
        digest.update(os.pread(descriptor, _TAIL_BYTES, tail))
        words = [str(size_bytes), digest.hexdigest()]
        if stat.S_ISREG(status.st_mode):
            words += [str(status.st_ino), str(status.st_mtime_ns)]
        return " ".join(words)
    finally:
        os.close(descriptor)
