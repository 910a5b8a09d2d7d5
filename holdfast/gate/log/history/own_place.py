"""Whether a directory may become that of a history, which makes it private and removes files there.

Must never write.
"""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.gate.log.history.fence import FILE_NAME, MARK
from holdfast.gate.log.history.room import CHECK_NAME
from holdfast.gate.log.history.segments import NAME

_OF_FILE_SYSTEMS = ("lost+found",)
"""What an empty disk has."""


def stranger_in(path: Path) -> str:
    """The name of something in it that no history has there; empty: nothing. Raises OSError."""
    for each in sorted(path.iterdir()):
        name = each.name
        if name in _OF_FILE_SYSTEMS or NAME.fullmatch(name) or CHECK_NAME.fullmatch(name):
            continue
        if name != FILE_NAME or not _is_fence(each):
            return name
    return ""


def _is_fence(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.read(descriptor, len(MARK) + 1) in (b"", MARK)
    finally:
        os.close(descriptor)
