"""Room below images: they are sparse, so they may promise more than their storage has.

Asks storage in expendable children only. Must never change anything.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.errors import HoldfastError, TooSmall
from holdfast.model.container import parse_container_url
from holdfast.model.size import format_size
from holdfast.system.expendable import in_expendable_child

STRUCTURE_SHARE = 64
"""A file system's own structures take up to 1/64 of its size (ext4: an inode of 256 bytes per
16 KiB)."""

_ANSWER_SECONDS = 5.0
_UNIT_BYTES = 512
"""Of st_blocks, stat(2)."""


@dataclass(frozen=True)
class Room:
    """An image, there or still to be made, and the storage that it takes its room from."""

    url: str
    file_system: int
    """st_dev: images with the same share what is free."""
    free_bytes: int
    size_bytes: int = 0
    allocated_bytes: int = 0


def room_of(url: str) -> Room | None:
    """The room of an image; None for a block device, and where storage does not say."""
    address = parse_container_url(url)
    if address.kind != "file":
        return None

    def ask() -> Room:
        path = Path(address.path)
        found = os.statvfs(path.parent)
        free_bytes = found.f_bavail * found.f_frsize
        try:
            status = path.stat()
        except FileNotFoundError:
            return Room(url, path.parent.stat().st_dev, free_bytes)
        allocated_bytes = status.st_blocks * _UNIT_BYTES
        return Room(url, status.st_dev, free_bytes, status.st_size, allocated_bytes)

    try:
        return in_expendable_child(ask, _ANSWER_SECONDS, url)
    except (HoldfastError, OSError):
        return None


def check_room(urls: Sequence[str], needed_bytes: int, what: str) -> None:
    """Raise TooSmall unless every image has room for so many bytes, those it has included.

    `what` they are, for people. Storage that does not say is passed.
    """
    rooms = [room for room in map(room_of, urls) if room is not None]
    for file_system in {room.file_system for room in rooms}:
        same = [room for room in rooms if room.file_system == file_system]
        missing = sum(max(0, needed_bytes - room.allocated_bytes) for room in same)
        free_bytes = min(room.free_bytes for room in same)
        if missing > free_bytes:
            raise TooSmall(
                f"{', '.join(room.url for room in same)}: {format_size(free_bytes)} are free there,"
                f" too little for {what} ({format_size(missing)})",
                "Make room there, or use larger storage.",
            )


def thinness(urls: Sequence[str], size_bytes: int) -> list[str]:
    """What is promised and not there: one sentence per storage that cannot hold its images whole.

    `size_bytes`: how large each image may become.
    """
    rooms = [room for room in map(room_of, urls) if room is not None]
    found = []
    for file_system in sorted({room.file_system for room in rooms}):
        same = [room for room in rooms if room.file_system == file_system]
        missing = sum(
            max(0, max(size_bytes, room.size_bytes) - room.allocated_bytes) for room in same
        )
        free_bytes = min(room.free_bytes for room in same)
        if missing > free_bytes:
            found.append(
                f"{', '.join(room.url for room in same)} may grow by {format_size(missing)}, and"
                f" {format_size(free_bytes)} are free there: when that is used up, the volume waits"
                " for room"
            )
    return found
