"""Whether a history can be written in a directory: what a segment takes first is tried there.

Leaves nothing; what a process leaves that is killed at it, the next one removes.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from holdfast.gate.log.history.layout import PAGE_BYTES
from holdfast.gate.log.history.segments import open_directory, open_segment_file, reserve, write_all
from holdfast.system.resources.memory import aligned_buffer

FIRST_BYTES = 1 << 20
"""Room that a segment takes at first: each takeover begins one, and its file stays."""

ALLOCATED_BYTES = 8 << 20
"""Room that is reserved ahead, so that most syncs need not write where the file lies, and a file
that is given up costs no more."""

CHECK_NAME = re.compile("check-[0-9a-f]{16}", re.ASCII)
"""Of the file that is made for it."""


def check_room(path: Path) -> None:
    """See that a segment could be begun there. Raises OSError."""
    directory = open_directory(path)
    try:
        for left in filter(CHECK_NAME.fullmatch, [each.name for each in path.iterdir()]):
            os.unlink(left, dir_fd=directory)
        name = f"check-{os.urandom(8).hex()}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        descriptor = open_segment_file(directory, path / name, flags)
        try:
            reserve(descriptor, 0, ALLOCATED_BYTES)
            write_all(descriptor, memoryview(aligned_buffer(PAGE_BYTES)), 0)
            os.fsync(descriptor)
            os.fsync(directory)
        finally:
            os.close(descriptor)
            os.unlink(name, dir_fd=directory)
    finally:
        os.close(directory)
