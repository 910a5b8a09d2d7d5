"""mount(2) and umount2(2) for injectors, without any of Holdfast's own code."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

MNT_DETACH = 2
MS_NOSUID = 2
MS_NODEV = 4

_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: Path, kind: str, options: str, flags: int = 0) -> None:
    """Mount, or raise OSError."""
    result = _libc.mount(
        source.encode(), str(target).encode(), kind.encode(), flags, options.encode()
    )
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))


def unmount(target: Path) -> bool:
    """Detach the topmost mount at `target` from the tree; False when there is none."""
    return bool(_libc.umount2(str(target).encode(), MNT_DETACH) == 0)
