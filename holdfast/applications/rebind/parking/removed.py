"""What is noted of names that were removed, so that an equal inode can be made (opening.removed).

A directory has no contents once it was removed, but `..` leads from it to where it was: so those
above it are noted, up to the first that has a name. Of a symbolic link or a device node it is kept
in the record directory what it is. Blocks when the storage does: for expendable children only.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from holdfast.applications.rebind.parking.observed import Observed

_MOST_ABOVE = 32
"""Directories that were removed, one in the other; of more no place is known."""

_LONGEST_TARGET = 4096
"""Bytes: PATH_MAX of <linux/limits.h>."""

_PLACE = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def directories_above(link: str, look: Callable[[int], Observed]) -> list[Observed]:
    """Those above the removed directory that a link of /proc leads to, the nearest first.

    The last one has a name. None where that is not told: on another file system, beyond
    `_MOST_ABOVE`, or where root may not look.
    """
    found: list[Observed] = []
    with suppress(OSError), ExitStack() as stack:
        place = os.open(link, _PLACE)
        stack.callback(os.close, place)
        device = os.fstat(place).st_dev
        while len(found) < _MOST_ABOVE:
            place = os.open("..", _PLACE, dir_fd=place)
            stack.callback(os.close, place)
            found.append(look(place))
            if found[-1].device != device:
                break
            if found[-1].links:
                return found
    return []


def keep_node(link: str, observed: Observed, directory: Path) -> str:
    """What it takes to make a link or a node again, in a file of the record directory; its name.

    Empty: nothing but its mode. Raises OSError.
    """
    place = os.open(link, os.O_PATH | os.O_CLOEXEC)
    try:
        if stat.S_ISLNK(observed.mode):
            data = os.fsencode(os.readlink("", dir_fd=place))
        elif stat.S_ISCHR(observed.mode) or stat.S_ISBLK(observed.mode):
            data = str(os.fstat(place).st_rdev).encode()
        else:
            return ""
    finally:
        os.close(place)
    name = f"node-{observed.inode}"
    (directory / name).write_bytes(data)
    return name


def kept_target(directory: Path, name: str) -> bytes:
    """Where a kept link leads to. Raises OSError."""
    return _read(directory, name)


def kept_device(directory: Path, name: str) -> int:
    """Which device a kept node was of. Raises OSError, ValueError."""
    return int(_read(directory, name))


def _read(directory: Path, name: str) -> bytes:
    with open(directory / name, "rb") as file:
        return file.read(_LONGEST_TARGET)
