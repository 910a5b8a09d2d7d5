"""How much of its device a file system covers, as its own superblock says.

Owns where ext4, XFS and btrfs keep that. What is told of a mounted one may be some seconds old
(XFS and btrfs write their superblock late); of one at rest it is exact. Must never write.
"""

from __future__ import annotations

import mmap
import os
import struct
import uuid

from holdfast.late_dataclass import dataclass
from holdfast.model.bounded import whole

_HEAD_BYTES = 128 << 10
"""Every superblock below lies in it: btrfs has its own at 64 KiB."""
_MOST_BLOCK_BYTES = 64 << 10

_EXT4, _BTRFS = 1024, 64 << 10  # ext4(5), btrfs-progs: kernel-shared/ctree.h
_EXT4_MAGIC, _XFS_MAGIC, _BTRFS_MAGIC = 0xEF53, b"XFSB", b"_BHRfS_M"
_EXT4_HAS_JOURNAL, _EXT4_64BIT = 0x4, 0x80
_EXT4_UUID, _XFS_UUID, _BTRFS_UUID = _EXT4 + 104, 32, _BTRFS + 32
_UUID_BYTES = 16


@dataclass(frozen=True)
class Span:
    """What a file system covers."""

    filesystem: str
    size_bytes: int
    """From byte 0 of its device."""
    elsewhere: str = ""
    """Of what it has a part on other devices, in words; empty: nothing."""
    uuid: str = ""
    """As blkid(8) shows it."""


def span_of(path: str) -> Span | None:
    """What the file system at byte 0 of this device or image covers; None: none that is known.

    Reads it past the page cache where it can, and blocks as it does. Raises OSError.
    """
    with mmap.mmap(-1, _HEAD_BYTES) as head:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_DIRECT)
        except OSError:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            os.preadv(descriptor, [head], 0)
        finally:
            os.close(descriptor)
        return decode(head[:])


def decode(head: bytes) -> Span | None:
    """The same of the first 128 KiB. Pure."""
    try:
        return _ext4(head) or _xfs(head) or _btrfs(head)
    except ValueError:
        return None


def _ext4(head: bytes) -> Span | None:
    if _number("<H", head, _EXT4 + 56) != _EXT4_MAGIC:
        return None
    blocks = _number("<I", head, _EXT4 + 4)
    if _number("<I", head, _EXT4 + 96) & _EXT4_64BIT:
        blocks |= _number("<I", head, _EXT4 + 336) << 32
    block_bytes = 1024 << whole(_number("<I", head, _EXT4 + 24), "block size", 0, 6)
    has_journal = _number("<I", head, _EXT4 + 92) & _EXT4_HAS_JOURNAL
    is_inside = _number("<I", head, _EXT4 + 224)
    elsewhere = "its journal" if has_journal and not is_inside else ""
    return Span("ext4", blocks * block_bytes, elsewhere, _uuid(head, _EXT4_UUID))


def _xfs(head: bytes) -> Span | None:
    if head[:4] != _XFS_MAGIC:
        return None
    block_bytes = whole(_number(">I", head, 4), "block size", 512, _MOST_BLOCK_BYTES)
    parts = ["its log"] if not _number(">Q", head, 48) else []
    parts += ["real-time data"] if _number(">Q", head, 16) else []
    size_bytes = _number(">Q", head, 8) * block_bytes
    return Span("xfs", size_bytes, " and ".join(parts), _uuid(head, _XFS_UUID))


def _btrfs(head: bytes) -> Span | None:
    if head[_BTRFS + 64 : _BTRFS + 72] != _BTRFS_MAGIC:
        return None
    devices = _number("<Q", head, _BTRFS + 136)
    # Of the device that this superblock lies on (dev_item), not of all of them together.
    return Span(
        "btrfs",
        _number("<Q", head, _BTRFS + 209),
        "" if devices == 1 else f"data: it has {devices} devices",
        _uuid(head, _BTRFS_UUID),
    )


def _uuid(head: bytes, offset: int) -> str:
    return str(uuid.UUID(bytes=head[offset : offset + _UUID_BYTES]))


def _number(form: str, head: bytes, offset: int) -> int:
    (number,) = struct.unpack_from(form, head, offset)
    return int(number)
