"""The tail of a leg: where its write-intent bitmap and its two superblock slots lie, and the slots.

Owns the on-disk format that docs/format.md describes. Invariant: at every instant at least one
slot of a leg is valid once the first write has returned, because successive sequence numbers go
to alternate slots and a slot is written only after the one before it is durable. Must never touch
a byte outside the slots, nor retry a transfer.

    0                size_bytes        bitmap area       slot 0      slot 1
    | data ...       | room, unused    | 1 bit per MiB   | 16 KiB    | 16 KiB    | end, / 4096
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import struct
import zlib
from dataclasses import asdict, dataclass, field
from typing import Any

from holdfast.errors import InvalidUrl
from holdfast.model.bounded import read_object, typed, whole
from holdfast.model.size import MAXIMUM_VOLUME_BYTES
from holdfast.model.volume import LegState

PAGE_BYTES = 4096
"""Unit of every transfer and offset: what O_DIRECT accepts on every disk in use."""

REGION_BYTES = 1 << 20
"""What one bit of the bitmap stands for: 2 MiB of bitmap at most for 16 TiB, and the time to
resynchronise one region (milliseconds) is what a bit set in vain costs."""

SLOT_BYTES = 16 << 10
"""Room for about 60 members with URLs of 200 bytes, and still one small transfer."""

SLOTS = 2

MOST_LEG_NUMBER = 1 << 31
"""Counts the legs that a volume ever had; for people, on terminals."""

MAGIC = b"HOLDFAST-LEG\r\n\x1a\n"
VERSION = 1

_COVERED = struct.Struct("<16sIIQ")
"""Magic, version, body length in bytes, sequence: what the checksum covers besides the body."""

_CHECKSUM = struct.Struct("<I")
HEADER_BYTES = 64
"""Covered fields at 0, checksum at 32, zeros up to the body at 64."""


@dataclass(frozen=True)
class Member:
    """One leg of the volume as the superblock's writer knew it in that epoch."""

    number: int
    id: str
    url: str
    state: LegState


@dataclass(frozen=True)
class Superblock:
    """What a leg knows of itself and of its siblings. Sizes, offsets and positions in bytes."""

    volume_id: str
    leg_id: str
    leg_number: int
    size_bytes: int
    epoch: int
    sequence: int
    """Counts the superblock writes of this leg; picks the slot. Never used twice."""
    position: int = 0
    """Journal position up to which this leg is known to be durable."""
    state: LegState = LegState.IN_SYNC
    resync_from: int | None = None
    """Number of the leg it is being copied from, while it is resyncing. For people."""
    resync_cursor: int | None = None
    """Offset below which a running resynchronisation has copied everything."""
    members: tuple[Member, ...] = ()
    descriptor: dict[str, Any] = field(default_factory=dict)
    """The volume's properties (JSON values), for an attach without a catalog."""
    owner: str = ""
    """Host and boot that has the leg attached; for people, it decides nothing."""


def bitmap_bytes(size_bytes: int) -> int:
    """Bytes of the bitmap area of a volume of this size, a multiple of 4096."""
    bits = -(-size_bytes // REGION_BYTES)
    return -(-bits // (8 * PAGE_BYTES)) * PAGE_BYTES


def tail_bytes(size_bytes: int) -> int:
    """Bytes that a leg needs beyond the volume's data: bitmap area and slots."""
    return bitmap_bytes(size_bytes) + SLOTS * SLOT_BYTES


def container_bytes_needed(size_bytes: int) -> int:
    """The smallest container that can be a leg of a volume of this size, a multiple of 4096."""
    return -(-size_bytes // PAGE_BYTES) * PAGE_BYTES + tail_bytes(size_bytes)


def slot_offset(container_bytes: int, slot: int) -> int:
    """Offset of a superblock slot; `container_bytes` is rounded down to 4096 here."""
    return container_bytes // PAGE_BYTES * PAGE_BYTES - (SLOTS - slot) * SLOT_BYTES


def bitmap_offset(container_bytes: int, size_bytes: int) -> int:
    """Offset of the bitmap area of a volume of this size in a container of that size."""
    return slot_offset(container_bytes, 0) - bitmap_bytes(size_bytes)


def encode(superblock: Superblock) -> bytes:
    """The 16 KiB of a slot. Raises InvalidUrl when URLs and properties do not fit."""
    values = asdict(superblock)
    sequence = values.pop("sequence")
    body = json.dumps(values, separators=(",", ":"), sort_keys=True).encode("ascii")
    room = SLOT_BYTES - HEADER_BYTES
    if len(body) > room:
        raise InvalidUrl(
            f"the superblock would take {len(body)} bytes and has room for {room}: the URLs of the"
            " legs or the volume's properties are too long",
            "Use shorter paths, or fewer legs.",
        )
    covered = _COVERED.pack(MAGIC, VERSION, len(body), sequence)
    checksum = _CHECKSUM.pack(zlib.crc32(body, zlib.crc32(covered)))
    return ((covered + checksum).ljust(HEADER_BYTES, b"\0") + body).ljust(SLOT_BYTES, b"\0")


def decode(slot: bytes | bytearray | memoryview) -> Superblock | None:
    """The superblock in a slot's 16 KiB, or None when it is not one: torn, damaged, foreign."""
    slot = bytes(slot)
    if len(slot) < HEADER_BYTES:
        return None
    magic, version, length, sequence = _COVERED.unpack_from(slot)
    if magic != MAGIC or version != VERSION or length > len(slot) - HEADER_BYTES:
        return None
    body = slot[HEADER_BYTES : HEADER_BYTES + length]
    (checksum,) = _CHECKSUM.unpack_from(slot, _COVERED.size)
    if checksum != zlib.crc32(body, zlib.crc32(slot[: _COVERED.size])):
        return None
    try:
        return _superblock(read_object(body, SLOT_BYTES), sequence)
    except ValueError:
        return None


def _superblock(values: dict[str, Any], sequence: int) -> Superblock:
    """The superblock of a body that has passed its checksum, which anybody can compute.

    Raises ValueError for another shape, and for numbers that no volume has.
    """
    if "sequence" in values:
        raise ValueError("the sequence stands in the header")
    found = typed(Superblock, {**values, "sequence": sequence})
    whole(found.size_bytes, "size_bytes", 1, MAXIMUM_VOLUME_BYTES)
    whole(found.epoch, "epoch")
    whole(found.position, "position")
    for member in (found.leg_number, *(each.number for each in found.members)):
        whole(member, "number of a leg", 0, MOST_LEG_NUMBER)
    if found.resync_cursor is not None:
        whole(found.resync_cursor, "resync_cursor", 0, found.size_bytes)
    return found


def read_superblock(descriptor: int, container_bytes: int) -> Superblock | None:
    """The valid slot with the highest (epoch, sequence), or None when there is no valid one.

    Blocks on the storage. Raises OSError when either slot cannot be read: an older slot must not
    be believed while a newer one may exist.
    """
    if slot_offset(container_bytes, 0) < 0:
        return None
    found = [decode(_read_slot(descriptor, container_bytes, slot)) for slot in range(SLOTS)]
    valid = [superblock for superblock in found if superblock is not None]
    return max(valid, key=lambda each: (each.epoch, each.sequence), default=None)


def write_superblock(descriptor: int, container_bytes: int, superblock: Superblock) -> None:
    """Write the slot that the sequence selects; durable when it returns.

    The caller raises `sequence` by exactly one per write of a leg and never starts a write of a
    leg while an earlier one (perhaps hanging) may still land. Raises OSError; the other slot is
    valid then as it was.
    """
    _write_slot(descriptor, container_bytes, superblock.sequence % SLOTS, encode(superblock))
    os.fdatasync(descriptor)


def erase_superblocks(descriptor: int, container_bytes: int) -> None:
    """Overwrite both slots with zeros; durable when it returns. Idempotent. Raises OSError."""
    for slot in range(SLOTS):
        _write_slot(descriptor, container_bytes, slot, bytes(SLOT_BYTES))
    os.fdatasync(descriptor)


def _read_slot(descriptor: int, container_bytes: int, slot: int) -> bytes:
    with mmap.mmap(-1, SLOT_BYTES) as aligned:
        done = os.preadv(descriptor, [aligned], slot_offset(container_bytes, slot))
        if done != SLOT_BYTES:
            raise OSError(errno.EIO, f"superblock slot {slot}: read {done} of {SLOT_BYTES} bytes")
        return aligned[:]


def _write_slot(descriptor: int, container_bytes: int, slot: int, content: bytes) -> None:
    offset = slot_offset(container_bytes, slot)
    if offset < 0:
        raise OSError(errno.ENOSPC, f"a container of {container_bytes} bytes has no room for slots")
    with mmap.mmap(-1, SLOT_BYTES) as aligned:
        aligned[:] = content
        done = os.pwritev(descriptor, [aligned], offset)
        if done != SLOT_BYTES:
            raise OSError(errno.EIO, f"superblock slot {slot}: wrote {done} of {SLOT_BYTES} bytes")
