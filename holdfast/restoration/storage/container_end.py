"""The end of a container that becomes a leg where it lies, or stops being one.

Owns what was there before: kept beside the record of the restoration, durably, before a byte of it
is changed, so that undoing puts it back as it was, size included. Must never touch a byte before
`offset`, where the file system is. Blocks as the storage does: for expendable children.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from holdfast.containers import image_behind, path_of
from holdfast.containers.trust import open_believed
from holdfast.errors import StorageFailed
from holdfast.gate.members.superblock import bitmap_offset, container_bytes_needed, tail_bytes
from holdfast.model.size import BLOCK_BYTES, MAXIMUM_VOLUME_BYTES
from holdfast.system.files.durable import replace_durably
from holdfast.system.storage.span import Span, span_of

KEPT = "container-end"
"""Of a restoration's directory."""

_HEAD = struct.Struct("<8sQQQI")
"""Magic, the container's size, where the end begins, its length (all in bytes), CRC-32 of it."""
_MAGIC = b"HFKEPEND"
_MOST_BYTES = 4 << 20
"""The tail of the largest volume has 2 MiB and 32 KiB."""


@dataclass(frozen=True)
class ContainerEnd:
    """What a container had at its end."""

    size_bytes: int
    """Of the whole container."""
    offset: int
    content: bytes


@dataclass(frozen=True)
class LegLayout:
    """Where a container with a file system at byte 0 has a leg's tail. In bytes."""

    size_bytes: int
    """Of the volume: the largest for which there is room, else just its file system."""
    more_bytes: int
    """By which the container would have to grow."""
    offset: int
    """Where the tail begins."""
    end: int


def largest_layout(container_bytes: int, file_system_bytes: int) -> LegLayout:
    """The layout that leaves a volume as much of its container as there is. Pure."""
    whole = container_bytes // BLOCK_BYTES * BLOCK_BYTES
    largest = max(0, whole - tail_bytes(whole))
    least = -(-file_system_bytes // BLOCK_BYTES) * BLOCK_BYTES
    return layout_for(container_bytes, max(least, min(largest, MAXIMUM_VOLUME_BYTES)))


def layout_for(container_bytes: int, size_bytes: int) -> LegLayout:
    """The layout of a volume of this size, a multiple of 4096. Pure."""
    whole = container_bytes // BLOCK_BYTES * BLOCK_BYTES
    end = max(whole, container_bytes_needed(size_bytes))
    more_bytes = max(0, end - container_bytes)
    return LegLayout(size_bytes, more_bytes, bitmap_offset(end, size_bytes), end)


def look(url: str) -> tuple[Span | None, int]:
    """What the container's file system covers, and its own size in bytes. Raises OSError,
    Untrusted."""
    descriptor = _open(url, os.O_RDONLY)
    try:
        return span_of(path_of(url)), os.lseek(descriptor, 0, os.SEEK_END)
    finally:
        os.close(descriptor)


def read_end(url: str, layout: LegLayout) -> bytes:
    """What is there now where the tail will be. Raises OSError, Untrusted."""
    descriptor = _open(url, os.O_RDONLY)
    try:
        size_bytes = os.lseek(descriptor, 0, os.SEEK_END)
        return _read(descriptor, layout.offset, max(0, min(layout.end, size_bytes) - layout.offset))
    finally:
        os.close(descriptor)


def keep_end(folder: Path, url: str, offset: int, end: int) -> None:
    """Keep what the container has from `offset` to `end`, or to its own end. Durable.

    Idempotent: what was kept first stays, because the container may have been changed since. Raises
    OSError, Untrusted.
    """
    if (folder / KEPT).exists():
        return
    descriptor = _open(url, os.O_RDONLY)
    try:
        size_bytes = os.lseek(descriptor, 0, os.SEEK_END)
        content = _read(descriptor, offset, max(0, min(end, size_bytes) - offset))
    finally:
        os.close(descriptor)
    head = _HEAD.pack(_MAGIC, size_bytes, offset, len(content), zlib.crc32(content))
    replace_durably(folder / KEPT, head + content)


def zero_end(url: str, offset: int, end: int) -> None:
    """Write zeros from `offset` to `end`; an image that is shorter grows, with its room taken.

    Durable. Idempotent. Raises OSError, Untrusted.
    """
    descriptor = _open(url, os.O_WRONLY)
    try:
        _write(descriptor, bytes(end - offset), offset)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def put_end_back(folder: Path, url: str) -> bool:
    """Let the container end as it did before, with the size that it had; whether it was changed.

    Durable. Idempotent, also while somebody has mounted it again: nothing lies there. Raises
    OSError, Untrusted, and StorageFailed when what was kept is damaged.
    """
    kept = kept_end(folder)
    if kept is None:
        return False
    descriptor = _open(url, os.O_WRONLY)
    try:
        if image_behind(url) and os.lseek(descriptor, 0, os.SEEK_END) > kept.size_bytes:
            os.ftruncate(descriptor, kept.size_bytes)
        _write(descriptor, kept.content, kept.offset)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return True


def kept_end(folder: Path) -> ContainerEnd | None:
    """What was kept; None: nothing was changed. Raises StorageFailed, OSError."""
    try:
        text = (folder / KEPT).read_bytes()
    except FileNotFoundError:
        return None
    content = text[_HEAD.size :]
    if len(text) >= _HEAD.size:
        magic, size_bytes, offset, length, checksum = _HEAD.unpack_from(text)
        is_whole = (length, checksum) == (len(content), zlib.crc32(content))
        if magic == _MAGIC and is_whole:
            return ContainerEnd(size_bytes, offset, content)
    raise StorageFailed(
        f"{folder / KEPT} is damaged: how the container ended before is not known",
        "The file system in it is whole: mount it by hand, and adopt it.",
    )


def _open(url: str, flags: int) -> int:
    image = image_behind(url)
    if image:
        return open_believed(Path(image), flags, in_use=True, keep_mode=True)
    return os.open(path_of(url), flags | os.O_CLOEXEC)


def _read(descriptor: int, offset: int, length: int) -> bytes:
    if not 0 <= length <= _MOST_BYTES:
        raise ValueError(f"the end of a container has no {length} bytes")
    content = b""
    while len(content) < length:
        part = os.pread(descriptor, length - len(content), offset + len(content))
        if not part:
            raise OSError(f"the container ended while it was read, at {offset + len(content)}")
        content += part
    return content


def _write(descriptor: int, content: bytes, offset: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
