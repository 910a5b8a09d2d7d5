"""What a container holds before it becomes a leg: nothing, or something that must be kept.

Owns the judgement "empty". Invariant: only zeros (or holes) in the first and last MiB and in the
first 64 MiB of data between, and no signature anywhere blkid looks, count as empty. Must never
write.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from holdfast.errors import HoldsData
from holdfast.system.storage.filesystem import identify

EDGE_BYTES = 1 << 20
"""Signatures live at the edges: partition tables, superblocks, RAID and LVM metadata."""

SCAN_BYTES = 64 << 20
"""How much data between the edges is read before an image that is all zeros so far is believed."""

_CHUNK_BYTES = 1 << 20
_ZEROS = bytes(_CHUNK_BYTES)


def check_empty(path: str, size_bytes: int, *, has_holes: bool) -> None:
    """Raise HoldsData unless the container counts as empty.

    `has_holes`: whether to look for data by SEEK_DATA (image files); block devices are judged by
    their edges and signatures. Raises OSError when reading fails; blocks as the storage does.
    """
    if size_bytes == 0:
        return
    found = identify(path)
    if found is not None:
        raise HoldsData(f"{path} holds {found}", _MEND)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        offset = _first_byte_not_zero(descriptor, size_bytes, has_holes)
    finally:
        os.close(descriptor)
    if offset is not None:
        raise HoldsData(f"{path} holds data at byte {offset}", _MEND)


_MEND = "Use another container, or erase this one on purpose (wipefs -a, or delete the image)."


def _first_byte_not_zero(descriptor: int, size_bytes: int, has_holes: bool) -> int | None:
    ranges = [(0, min(EDGE_BYTES, size_bytes)), (max(0, size_bytes - EDGE_BYTES), size_bytes)]
    if has_holes:
        ranges.extend(_data_extents(descriptor, size_bytes, SCAN_BYTES))
    for start, end in ranges:
        for offset in range(start, end, _CHUNK_BYTES):
            part = os.pread(descriptor, min(_CHUNK_BYTES, end - offset), offset)
            if part != _ZEROS[: len(part)]:
                return offset + len(part) - len(part.lstrip(b"\0"))
    return None


def _data_extents(descriptor: int, size_bytes: int, limit_bytes: int) -> Iterator[tuple[int, int]]:
    """(start, end) of the parts that are not holes, up to `limit_bytes` in all."""
    position = 0
    while position < size_bytes and limit_bytes > 0:
        try:
            start = os.lseek(descriptor, position, os.SEEK_DATA)
            end = os.lseek(descriptor, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                return
            raise
        end = min(end, start + limit_bytes)
        yield start, end
        limit_bytes -= end - start
        position = end
