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
import struct
import zlib
from collections.abc import Iterable
from dataclasses import asdict, field, replace
from time import monotonic
from typing import Any

from holdfast.containers import BackEnd
from holdfast.errors import InvalidUrl
from holdfast.late_dataclass import dataclass
from holdfast.model.bounded import NewerFormat, read_object, typed, whole
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

MEDIUM_ERRORS = frozenset(
    (errno.EIO, errno.ENODATA, errno.EILSEQ, errno.EBADMSG, errno.EUCLEAN, errno.EREMOTEIO)
)
"""What Linux answers when one place of a medium is bad (blk_errors in block/blk-core.c: ENODATA for
a medium error, EILSEQ for a failed protection check, EREMOTEIO for one of the target; EBADMSG and
EUCLEAN are checksums of the file system below). EIO says it, too, and everything else besides."""

_SEARCH_BYTES = 1 << 20

MAGIC = b"HOLDFAST-LEG\r\n\x1a\n"
VERSION = 1

_COVERED = struct.Struct("<16sIIQ")
"""Magic, version, body length in bytes, sequence: what the checksum covers besides the body."""

_CHECKSUM = struct.Struct("<I")

_ANNEX = struct.Struct("<II")
"""Behind the checksum: length in bytes of the annex, which follows the body, and its checksum,
which covers the body's, too. Version 0.1.0 writes zeros there, and refuses a body with keys that it
does not know: what came later stands in the annex, and whoever does not know it passes it over."""

HEADER_BYTES = 64
"""Covered fields at 0, checksum at 32, annex at 36, zeros up to the body at 64."""

_RESERVED = frozenset({"resync_from", "resync_cursor"})
"""Keys that earlier versions wrote and nobody reads: not to be given another meaning."""


@dataclass(frozen=True)
class Member:
    """One leg of the volume as the superblock's writer knew it in that epoch."""

    number: int
    id: str
    url: str
    state: LegState


@dataclass(frozen=True)
class Settled:
    """An epoch that was remembered outside of the legs, and who was in sync in it (ids of legs)."""

    epoch: int
    in_sync: tuple[str, ...]


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
    members: tuple[Member, ...] = ()
    descriptor: dict[str, Any] = field(default_factory=dict)
    """The volume's properties (JSON values), for an attach without a catalog."""
    owner: str = ""
    """Host, boot and gate that wrote it: a gate that holds goes on only with its own."""
    container_bytes: int = 0
    """Where this superblock lies: the end of the container when its tail was written, a multiple of
    4096. A container that was enlarged since still has its tail there. 0: written before this field
    was; then only the places that need no memory are believed."""
    raised_from: Settled | None = None
    """What somebody may have gone on from, as long as the raise to `epoch` is not known to have
    ended. None: it is, or a version before this field wrote it."""


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
    return _end(container_bytes) - (SLOTS - slot) * SLOT_BYTES


def bitmap_offset(container_bytes: int, size_bytes: int) -> int:
    """Offset of the bitmap area of a volume of this size in a container of that size."""
    return slot_offset(container_bytes, 0) - bitmap_bytes(size_bytes)


def encode(superblock: Superblock) -> bytes:
    """The 16 KiB of a slot. Raises InvalidUrl when URLs and properties do not fit."""
    values = asdict(superblock)
    sequence, raised_from = values.pop("sequence"), values.pop("raised_from")
    body = _json(values)
    annex = _json({"raised_from": raised_from}) if raised_from else b""
    room = SLOT_BYTES - HEADER_BYTES
    if len(body) + len(annex) > room:
        raise InvalidUrl(
            f"the superblock would take {len(body) + len(annex)} bytes and has room for {room}: the"
            " URLs of the legs or the volume's properties are too long",
            "Use shorter paths, or fewer legs.",
        )
    covered = _COVERED.pack(MAGIC, VERSION, len(body), sequence)
    header = covered + _CHECKSUM.pack(zlib.crc32(body, zlib.crc32(covered)))
    if annex:
        header += _ANNEX.pack(len(annex), zlib.crc32(annex, zlib.crc32(header)))
    return (header.ljust(HEADER_BYTES, b"\0") + body + annex).ljust(SLOT_BYTES, b"\0")


def _json(values: dict[str, Any]) -> bytes:
    return json.dumps(values, separators=(",", ":"), sort_keys=True).encode("ascii")


def decode(slot: bytes | bytearray | memoryview) -> Superblock | None:
    """The superblock in a slot's 16 KiB, or None when it is not one: torn, damaged, foreign.

    Raises NewerFormat.
    """
    slot = bytes(slot)
    if len(slot) < HEADER_BYTES:
        return None
    magic, version, length, sequence = _COVERED.unpack_from(slot)
    if magic != MAGIC or length > len(slot) - HEADER_BYTES:
        return None
    body = slot[HEADER_BYTES : HEADER_BYTES + length]
    (checksum,) = _CHECKSUM.unpack_from(slot, _COVERED.size)
    if checksum != zlib.crc32(body, zlib.crc32(slot[: _COVERED.size])):
        return None
    if version > VERSION:
        raise NewerFormat("its superblock", version, VERSION)
    if version != VERSION:
        return None
    try:
        found = _superblock(read_object(body, SLOT_BYTES), sequence)
        return replace(found, raised_from=_raised_from(slot, HEADER_BYTES + length, found.epoch))
    except ValueError:
        return None


def _raised_from(slot: bytes, start: int, epoch: int) -> Settled | None:
    """What the annex, which begins at `start`, says of this epoch.

    Raises ValueError for a torn one, and for what no raise to it can have begun from.
    """
    header_end = _COVERED.size + _CHECKSUM.size
    length, checksum = _ANNEX.unpack_from(slot, header_end)
    if not length:
        return None
    annex = slot[start : start + length]
    if checksum != zlib.crc32(annex, zlib.crc32(slot[:header_end])):
        raise ValueError("the annex is torn")
    values = read_object(annex, SLOT_BYTES).get("raised_from")
    if values is None:
        return None
    found = typed(Settled, values)
    whole(found.epoch, "epoch", 0, epoch - 1)
    return found


def _superblock(values: dict[str, Any], sequence: int) -> Superblock:
    """The superblock of a body that has passed its checksum, which anybody can compute.

    Raises ValueError for another shape, and for numbers that no volume has.
    """
    if values.keys() & {"sequence", "raised_from"}:
        raise ValueError("these stand in the header and in the annex")
    known = {name: value for name, value in values.items() if name not in _RESERVED}
    found = typed(Superblock, {**known, "sequence": sequence})
    whole(found.size_bytes, "size_bytes", 1, MAXIMUM_VOLUME_BYTES)
    whole(found.epoch, "epoch")
    whole(found.position, "position")
    whole(found.container_bytes, "container_bytes")
    for member in (found.leg_number, *(each.number for each in found.members)):
        whole(member, "number of a leg", 0, MOST_LEG_NUMBER)
    return found


def read_superblock(back_end: BackEnd, container_bytes: int) -> Superblock | None:
    """The valid slot with the highest (epoch, sequence), or None when there is no valid one.

    Blocks on the storage. Raises NewerFormat, and OSError when a slot cannot be read, unless the
    medium has a bad place in exactly one of them and the other is valid: that one may be older, and
    is judged like an older copy of the leg (by its epoch, and by its position). The next write
    repairs the place.
    """
    if slot_offset(container_bytes, 0) < 0:
        return None
    valid: list[Superblock] = []
    unreadable: list[OSError] = []
    for slot in range(SLOTS):
        try:
            superblock = decode(_read_slot(back_end, container_bytes, slot))
        except NewerFormat:
            raise
        except OSError as error:
            unreadable.append(error)
            continue
        if superblock is not None and superblock.container_bytes in (0, _end(container_bytes)):
            valid.append(superblock)
    if unreadable and not (valid and unreadable[0].errno in MEDIUM_ERRORS):
        raise unreadable[0]
    return max(valid, key=lambda each: (each.epoch, each.sequence), default=None)


def find_superblock(
    back_end: BackEnd, places: Iterable[int], leg_id: str = ""
) -> tuple[Superblock, int] | None:
    """The newest superblock among these container sizes, and the one at which it lies.

    Of several legs' superblocks (a disk that had another life) that leg's count. Blocks on the
    storage. Raises NewerFormat, and OSError when none is found and a place could not be read.
    """
    found: list[tuple[Superblock, int]] = []
    unreadable: OSError | None = None
    for place in dict.fromkeys(places):
        try:
            superblock = read_superblock(back_end, place)
        except NewerFormat:
            raise
        except OSError as error:
            unreadable = error
            continue
        if superblock is not None:
            found.append((superblock, place))
    if unreadable is not None and not found:
        raise unreadable
    own = [each for each in found if each[0].leg_id == leg_id]
    return max(own or found, key=lambda each: (each[0].epoch, each[0].sequence), default=None)


def search_superblock(
    back_end: BackEnd, container_bytes: int, seconds: float
) -> tuple[Superblock, int] | None:
    """Look for the tail of a container that was enlarged, from its end backwards, for that long.

    Only what says itself that it lies there is believed, so the image of a leg that is a file
    inside of the volume is not. For when nobody remembers where the tail was. Raises OSError, and
    NewerFormat where nothing else was found: that one cannot be asked whether it lies there.
    """
    newer: NewerFormat | None = None
    deadline = monotonic() + seconds
    end = _end(container_bytes)
    chunk = mmap.mmap(-1, _SEARCH_BYTES)
    while end > 0 and monotonic() < deadline:
        start = max(0, end - _SEARCH_BYTES)
        with memoryview(chunk) as view:
            back_end.read(view[: end - start], start)
        at = chunk.rfind(MAGIC, 0, end - start)
        while at >= 0:
            for slot in range(SLOTS):
                place = start + at + (SLOTS - slot) * SLOT_BYTES
                if at % PAGE_BYTES == 0 and place <= container_bytes:
                    try:
                        superblock = read_superblock(back_end, place)
                    except NewerFormat as error:
                        newer = error
                        continue
                    if superblock is not None and superblock.container_bytes == place:
                        return superblock, place
            at = chunk.rfind(MAGIC, 0, at)
        end = start
    if newer is not None:
        raise newer
    return None


def _end(container_bytes: int) -> int:
    """Where the last slot of a container of that size ends."""
    return container_bytes // PAGE_BYTES * PAGE_BYTES


def write_superblock(
    back_end: BackEnd,
    container_bytes: int,
    superblock: Superblock,
    buffer: mmap.mmap | None = None,
) -> None:
    """Write the slot that the sequence selects; durable when it returns.

    `buffer`: page-aligned, SLOT_BYTES long, in memory already: who serves write-back must not ask
    for memory here, once a second, while everybody else waits for the interpreter lock.
    The caller raises `sequence` by exactly one per write of a leg and never starts a write of a
    leg while an earlier one (perhaps hanging) may still land. Raises OSError; the other slot is
    valid then as it was.
    """
    superblock = replace(superblock, container_bytes=_end(container_bytes))
    slot = superblock.sequence % SLOTS
    _write_slot(back_end, container_bytes, slot, encode(superblock), buffer)
    back_end.flush()


def holds_other_slot(
    back_end: BackEnd, container_bytes: int, sequence: int, buffer: mmap.mmap
) -> bool:
    """Whether a superblock lies in the slot that this sequence does not select.

    For finding out afterwards that a container was truncated: the write of the last slot makes it
    as long as it was, with zeros for all that was cut off. `buffer`: page-aligned, PAGE_BYTES.
    False where the medium has a bad place there. Raises OSError.
    """
    try:
        with memoryview(buffer) as view:
            back_end.read(view, slot_offset(container_bytes, 1 - sequence % SLOTS))
            return bytes(view[: len(MAGIC)]) == MAGIC
    except OSError as error:
        if error.errno not in MEDIUM_ERRORS:
            raise
        return False


def erase_superblocks(back_end: BackEnd, container_bytes: int) -> None:
    """Overwrite both slots with zeros; durable when it returns. Idempotent. Raises OSError."""
    for slot in range(SLOTS):
        _write_slot(back_end, container_bytes, slot, bytes(SLOT_BYTES))
    back_end.flush()


def _read_slot(back_end: BackEnd, container_bytes: int, slot: int) -> bytes:
    with mmap.mmap(-1, SLOT_BYTES) as aligned:
        with memoryview(aligned) as view:
            back_end.read(view, slot_offset(container_bytes, slot))
        return aligned[:]


def _write_slot(
    back_end: BackEnd,
    container_bytes: int,
    slot: int,
    content: bytes,
    buffer: mmap.mmap | None = None,
) -> None:
    offset = slot_offset(container_bytes, slot)
    if offset < 0:
        raise OSError(errno.ENOSPC, f"a container of {container_bytes} bytes has no room for slots")
    aligned = mmap.mmap(-1, SLOT_BYTES) if buffer is None else buffer
    aligned[:] = content
    with memoryview(aligned) as view:
        back_end.write(view, offset)
