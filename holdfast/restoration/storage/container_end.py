"""The end of a container that becomes a leg where it lies, or stops being one.

Owns what was there before: kept beside the record of the restoration, durably, before a byte of it
is changed, so that undoing puts it back as it was, size included. Must never touch a byte before
`offset`, where the file system is. Blocks as the storage does: for expendable children.
"""

from __future__ import annotations

import os
import struct
import uuid
import zlib
from pathlib import Path

from holdfast.containers import image_behind, path_of
from holdfast.containers.trust import open_believed
from holdfast.errors import StorageFailed
from holdfast.gate.members.superblock import (
    SLOT_BYTES,
    SLOTS,
    bitmap_offset,
    container_bytes_needed,
    decode,
    tail_bytes,
)
from holdfast.late_dataclass import dataclass
from holdfast.model.size import BLOCK_BYTES, MAXIMUM_VOLUME_BYTES
from holdfast.system.files.durable import replace_durably
from holdfast.system.files.own_files import writing_own_files
from holdfast.system.storage.span import Span, span_of

KEPT = "container-end"
"""Of a restoration's directory."""

_HEAD = struct.Struct("<8sQQQQI16s16s")
"""Magic, the container's size, where its end begins, where a leg's tail ends, how much was kept
(all in bytes), CRC-32 of that and of both UUIDs: that of the file system, that of the leg."""
_MAGIC = b"HFKEPEN2"
_MOST_BYTES = 4 << 20
"""The tail of the largest volume has 2 MiB and 32 KiB."""


@dataclass(frozen=True)
class ContainerEnd:
    """What a container had at its end."""

    size_bytes: int
    """Of the whole container."""
    offset: int
    end: int
    """Where the tail of a leg ends: of an image that has to grow, behind its own end."""
    content: bytes
    file_system: str
    """UUID of the one before it."""
    leg: str
    """UUID of the leg that it becomes, or is no more."""


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


def keep_end(folder: Path, url: str, offset: int, end: int, leg: str) -> None:
    """Keep what the container has from `offset` to `end`, or to its own end. Durable.

    `leg`: the UUID of the leg that it becomes, or is no more. Idempotent: what was kept first
    stays, because the container may have been changed since. Raises OSError, Untrusted,
    StorageFailed where no file system is known, StateFailed where there is no room for it.
    """
    if (folder / KEPT).exists():
        return
    span = span_of(path_of(url))
    if span is None:
        raise StorageFailed(f"{url} begins with no file system", "")
    descriptor = _open(url, os.O_RDONLY)
    try:
        size_bytes = os.lseek(descriptor, 0, os.SEEK_END)
        content = _read(descriptor, offset, max(0, min(end, size_bytes) - offset))
    finally:
        os.close(descriptor)
    identity = uuid.UUID(span.uuid).bytes, uuid.UUID(leg).bytes
    checksum = zlib.crc32(b"".join((content, *identity)))
    head = _HEAD.pack(_MAGIC, size_bytes, offset, end, len(content), checksum, *identity)
    with writing_own_files(folder):
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

    Durable. Idempotent, also while somebody has mounted it again: nothing lies there. Writes
    nothing to a container that ends so already. Raises OSError, Untrusted, and StorageFailed when
    what was kept is damaged, or when this is not the container that it is of.
    """
    kept = kept_end(folder)
    if kept is None:
        return False
    descriptor = _open(url, os.O_RDONLY)
    try:
        _check_is_that(descriptor, url, kept)
        size_bytes = os.lseek(descriptor, 0, os.SEEK_END)
        content = os.pread(descriptor, len(kept.content), kept.offset)
        if (size_bytes, content) == (kept.size_bytes, kept.content):
            return True
    finally:
        os.close(descriptor)
    descriptor = _open(url, os.O_WRONLY)
    try:
        if image_behind(url):
            os.ftruncate(descriptor, kept.size_bytes)
        _write(descriptor, kept.content, kept.offset)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return True


def _check_is_that(descriptor: int, url: str, kept: ContainerEnd) -> None:
    """Raise StorageFailed unless this is the container that was kept, with nothing else at its end.

    Another disk may have the name of a device after a restart, another file that of an image; and
    who mounted it meanwhile may have let its file system grow.
    """
    span = span_of(path_of(url))
    if span is None or span.uuid != kept.file_system:
        raise _another(url, f"it has no file system with UUID {kept.file_system}")
    size_bytes = os.lseek(descriptor, 0, os.SEEK_END)
    largest = max(kept.size_bytes, kept.end) if image_behind(url) else kept.size_bytes
    if not kept.size_bytes <= size_bytes <= largest:
        raise _another(url, f"it has {size_bytes} bytes, and had {kept.size_bytes}")
    if span.size_bytes > kept.offset:
        raise _another(url, "its file system has grown over its end")
    for slot in range(1, SLOTS + 1):
        found = decode(os.pread(descriptor, SLOT_BYTES, kept.end - slot * SLOT_BYTES))
        if found is not None and found.leg_id != kept.leg:
            raise _another(url, f"it is leg {found.leg_number} of a volume")


def _another(url: str, why: str) -> StorageFailed:
    return StorageFailed(
        f"{url} is not what it was, and is left as it is: {why}",
        "Bring back under that name what was there.",
    )


def kept_end(folder: Path) -> ContainerEnd | None:
    """What was kept; None: nothing was changed. Raises StorageFailed, OSError."""
    try:
        text = (folder / KEPT).read_bytes()
    except FileNotFoundError:
        return None
    content = text[_HEAD.size :]
    if len(text) >= _HEAD.size:
        magic, size_bytes, offset, end, length, checksum, *identity = _HEAD.unpack_from(text)
        found = zlib.crc32(b"".join((content, *identity)))
        if (magic, length, checksum) == (_MAGIC, len(content), found):
            file_system, leg = (str(uuid.UUID(bytes=each)) for each in identity)
            return ContainerEnd(size_bytes, offset, end, content, file_system, leg)
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
