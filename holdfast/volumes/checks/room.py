"""Room below images: they are sparse, so they may promise more than their storage has.

Asks storage in expendable children only. Must never change anything.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.containers import SharedRoom, open_container
from holdfast.errors import HoldfastError, TooSmall
from holdfast.model.size import format_size
from holdfast.system.children.expendable import in_expendable_child

STRUCTURE_SHARE = 64
"""A file system's own structures take up to 1/64 of its size (ext4: an inode of 256 bytes per
16 KiB)."""

_ANSWER_SECONDS = 5.0


def room_of(url: str) -> SharedRoom | None:
    """What an image may still take; None for a block device, and where storage does not say."""
    try:
        return in_expendable_child(open_container(url).room, _ANSWER_SECONDS, url)
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
