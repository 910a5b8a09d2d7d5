"""Contents of files that are carried over: copied, holes stay holes, and compared.

Blocks when the storage does: for expendable children only.
"""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.system.file_contents import make_equal

_PART_BYTES = 1 << 20


def copy_contents(source: str | Path, target: int) -> None:
    """Fill an empty file with what is in another one. Raises OSError."""
    reading = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        make_equal(reading, target, is_new=True)
    finally:
        os.close(reading)


def same_contents(descriptor: int, other: Path) -> bool:
    """Whether two files have the same bytes. Raises OSError."""
    with (
        open(other, "rb", buffering=0) as right,
        open(f"/proc/self/fd/{descriptor}", "rb", buffering=0) as left,
    ):
        if os.fstat(left.fileno()).st_size != os.fstat(right.fileno()).st_size:
            return False
        while True:
            part = left.read(_PART_BYTES)
            if part != right.read(_PART_BYTES):
                return False
            if not part:
                return True
