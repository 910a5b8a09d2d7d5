"""The bytes of a history: the page at the begin of a segment, and the headers of its frames.

Owns the format that docs/format.md describes. Invariant: what is decoded is within bounds and was
encoded here, or it is None. Pure.
"""

from __future__ import annotations

import struct
import zlib
from enum import IntEnum
from typing import Final

from holdfast.late_dataclass import dataclass
from holdfast.model.bounded import MOST_NUMBER, NewerFormat
from holdfast.system.blake2 import blake2b

PAGE_BYTES: Final = 4096
"""Unit of transfers and file offsets (O_DIRECT), of the first page, and of padding."""

SEGMENT_MAGIC: Final = b"HFHISTRY"
FRAME_MAGIC: Final = b"HFHFRAME"
VERSION: Final = 1

FRAME_HEADER_BYTES: Final = 64
MOST_FRAME_BYTES: Final = 4 << 20
"""Of records in a frame. Large enough that a disk is written at its speed, small enough for a
buffer that is locked in memory."""

MOST_REASON_BYTES: Final = 1024

_SEGMENT = struct.Struct("<8sIIQQ16s16s16sQqqQI")
"""Magic, version, chained, number, base, salt, salt of the predecessor, volume id, gap from
(position), newest time before it and time at its begin (ns since 1970 UTC), lived (ns), bytes of
the reason."""

_FRAME = struct.Struct("<8sQQIIqqQI")
"""Magic, segment number, position, bytes, records that are whole, oldest and newest time of these
(ns since 1970 UTC), lived (ns), checksum of the frame before (of the segment's page for the
first)."""

_UNSETTLED = 2
"""Of the field `chained`."""

_CHECKSUM = struct.Struct("<I")
NO_SALT: Final = bytes(16)


class Mark(IntEnum):
    """What a record of the kind MARK says, in the place of its offset."""

    CLOSED = 1
    """A gate has ended properly: the legs have everything before it, and nothing else."""
    SETTLED = 2
    """The end of a step: see SegmentPage.unsettled."""


def volume_in_history(volume_id: str) -> bytes:
    """How pages name a volume."""
    return blake2b(volume_id.encode(), digest_size=16).digest()


@dataclass(frozen=True)
class SegmentPage:
    """The first page of a segment: which part of the endless log it holds."""

    number: int
    """Rises; never used twice in a directory."""
    base: int
    """Position of its first frame."""
    salt: bytes
    """16 random bytes, by which its successor names it."""
    volume_id: bytes
    """16 bytes."""
    follows: bytes = NO_SALT
    """The salt of its predecessor; zeros: there is none."""
    chained: bool = False
    """Whether the predecessor's frames lead up to `base` without a gap."""
    unsettled: bool = False
    """Chained, and what begins here is one step up to the mark SETTLED: contents that were read
    from the legs after the host went down. No position in between is one that the volume had."""
    gap_from: int = 0
    """Not chained: the position up to which the history was whole before."""
    before_ns: int = 0
    """Time of the newest record before the base, as far as the writer knew; 0: it knew none."""
    begun_ns: int = 0
    """When it was begun."""
    lived_ns: int = 0
    """How long the history had been kept when it was begun: time in which it was not is not
    counted, and no clock that is set moves it. Retention goes by it."""
    reason: str = ""
    """Not chained: why, for people."""

    def encode(self) -> bytes:
        """The whole page. A reason that is too long is cut."""
        reason = self.reason.encode()[:MOST_REASON_BYTES]
        covered = (
            _SEGMENT.pack(
                SEGMENT_MAGIC,
                VERSION,
                _UNSETTLED if self.unsettled else int(self.chained),
                self.number,
                self.base,
                self.salt,
                self.follows,
                self.volume_id,
                self.gap_from,
                self.before_ns,
                self.begun_ns,
                self.lived_ns,
                len(reason),
            )
            + reason
        )
        page = covered.ljust(PAGE_BYTES - _CHECKSUM.size, b"\0")
        return page + _CHECKSUM.pack(zlib.crc32(page))

    @property
    def checksum(self) -> int:
        """What the first frame continues."""
        found: int = _CHECKSUM.unpack(self.encode()[-_CHECKSUM.size :])[0]
        return found


def decode_page(page: bytes) -> SegmentPage | None:
    """None: it is torn, damaged, or of something else. Raises NewerFormat."""
    if len(page) != PAGE_BYTES or page[:8] != SEGMENT_MAGIC:
        return None
    (checksum,) = _CHECKSUM.unpack_from(page, PAGE_BYTES - _CHECKSUM.size)
    if checksum != zlib.crc32(page[: -_CHECKSUM.size]):
        return None
    values = _SEGMENT.unpack_from(page)
    version, chained, number, base, salt, follows, volume = values[1:8]
    gap_from, before, begun, lived, length = values[8:]
    if version > VERSION:
        raise NewerFormat("a segment of the history", version, VERSION)
    if (
        version != VERSION
        or chained > _UNSETTLED
        or max(number, base, gap_from, lived) > MOST_NUMBER
    ):
        return None
    if length > MOST_REASON_BYTES or gap_from > base:
        return None
    if not chained and follows != NO_SALT and gap_from == base:
        return None  # whether an image at that position has what is lacking, nobody could tell
    reason = page[_SEGMENT.size : _SEGMENT.size + length].decode(errors="replace")
    return SegmentPage(
        number=number,
        base=base,
        salt=salt,
        volume_id=volume,
        follows=follows,
        chained=bool(chained),
        unsettled=chained == _UNSETTLED,
        gap_from=gap_from,
        before_ns=before,
        begun_ns=begun,
        lived_ns=lived,
        reason=reason,
    )


@dataclass(frozen=True)
class FrameHeader:
    """What the records of a frame lie behind."""

    number: int
    """Of the segment."""
    position: int
    size_bytes: int
    """Of the records, as they lie in the ring."""
    records: int
    oldest_ns: int
    newest_ns: int
    lived_ns: int
    """As of a segment's page, when it was written."""
    previous: int
    checksum: int

    @property
    def end(self) -> int:
        """Position after its last record."""
        return self.position + self.size_bytes

    @property
    def file_bytes(self) -> int:
        """What it takes in the file."""
        return frame_file_bytes(self.size_bytes)


def frame_file_bytes(size_bytes: int) -> int:
    """Bytes that a frame with so many bytes of records takes in a file."""
    return -(-(FRAME_HEADER_BYTES + size_bytes) // PAGE_BYTES) * PAGE_BYTES


def seal_frame(
    frame: memoryview,
    number: int,
    position: int,
    size_bytes: int,
    records: int,
    times: tuple[int, int, int],
    previous: int,
) -> int:
    """Write the header into a frame whose records are there already, and zeros behind them; the
    checksum. `times`: oldest, newest, lived. `frame` has `frame_file_bytes` bytes."""
    _FRAME.pack_into(frame, 0, FRAME_MAGIC, number, position, size_bytes, records, *times, previous)
    end = FRAME_HEADER_BYTES + size_bytes
    frame[end:] = bytes(len(frame) - end)
    checksum = checksum_of(frame, size_bytes)
    _CHECKSUM.pack_into(frame, FRAME_HEADER_BYTES - _CHECKSUM.size, checksum)
    return checksum


def checksum_of(frame: memoryview, size_bytes: int) -> int:
    """Of the header without its checksum, and of the records."""
    covered = zlib.crc32(frame[: FRAME_HEADER_BYTES - _CHECKSUM.size])
    return zlib.crc32(frame[FRAME_HEADER_BYTES : FRAME_HEADER_BYTES + size_bytes], covered)


def decode_frame_header(header: memoryview) -> FrameHeader | None:
    """None: no frame begins there. The checksum is not looked at."""
    if len(header) < FRAME_HEADER_BYTES or bytes(header[:8]) != FRAME_MAGIC:
        return None
    values = _FRAME.unpack_from(header)
    number, position, size_bytes, records, oldest, newest, lived, previous = values[1:]
    (checksum,) = _CHECKSUM.unpack_from(header, FRAME_HEADER_BYTES - _CHECKSUM.size)
    fits = 0 < size_bytes <= MOST_FRAME_BYTES and not size_bytes % 64 and position <= MOST_NUMBER
    if not fits or position % 64:
        return None
    return FrameHeader(
        number, position, size_bytes, records, oldest, newest, lived, previous, checksum
    )
