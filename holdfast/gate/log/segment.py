"""The bytes of a journal segment: its header page, its records, and reading them back checked.

Owns the on-disk format of the journal that docs/format.md describes. Invariant: what `scan`
yields is an unbroken run of records as they were appended; it stops before the first byte that
is not proven. Must never write.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

from holdfast.late_dataclass import dataclass
from holdfast.model.bounded import MOST_NUMBER, NewerFormat
from holdfast.model.size import MAXIMUM_VOLUME_BYTES

PAGE_BYTES = 4096
"""Unit of every transfer and offset (O_DIRECT), of headers and of padding."""

PREFIX = "segment-"
"""Files of the journal's directory; the number in the name means nothing, the header does."""

SEGMENT_MAGIC = b"HFJSEGMT"
RECORD_MAGIC = b"HFJRECRD"
VERSION = 1

SEGMENT_COVERED = struct.Struct("<8sIIQQ16s")
"""Magic, version, chained (1: continues segment number-1), number, base position, salt."""

RECORD_COVERED = struct.Struct("<8sIIQQqQQI")
"""Magic, kind, checksum of the record before (of the segment header for the first), segment
number, position, time in ns since 1970 UTC, offset, length, payload bytes."""

CHECKSUM = struct.Struct("<I")

READ_BYTES = 1 << 20
"""Records are read in pieces of this size: the largest payload of the kernel's requests."""


class Kind(IntEnum):
    """What a record stands for. Only `data` (and a `mark`, when it likes) has a payload."""

    DATA = 1
    FLUSH = 2
    DISCARD = 3
    MARK = 4


class Record(NamedTuple):
    """One record as it was appended. Positions, offsets and lengths in bytes."""

    position: int
    end: int
    """Position after it: what `append` returned."""
    kind: Kind
    time_ns: int
    """Wall clock, ns since 1970 UTC; for people. The order is that of the positions."""
    offset: int
    length: int
    payload: memoryview
    """Valid until the next record is asked for; page aligned."""
    checksum: int


@dataclass(frozen=True)
class SegmentHeader:
    """Which part of the endless log a file holds."""

    number: int
    base: int
    """Position of its first record."""
    chained: bool
    """Whether the records of segment `number - 1` lead up to it without a gap."""
    salt: bytes
    """16 random bytes: no record of another life of this file fits behind this header."""

    def encode(self) -> bytes:
        """The segment's first page."""
        covered = SEGMENT_COVERED.pack(
            SEGMENT_MAGIC, VERSION, self.chained, self.number, self.base, self.salt
        )
        return (covered + CHECKSUM.pack(zlib.crc32(covered))).ljust(PAGE_BYTES, b"\0")

    @property
    def checksum(self) -> int:
        """What the first record of the segment carries as its predecessor's checksum."""
        return CHECKSUM.unpack_from(self.encode(), SEGMENT_COVERED.size)[0]  # type: ignore[no-any-return]


def decode_segment_header(page: bytes) -> SegmentHeader | None:
    """The header in a segment's first page; None when it is free, torn or damaged.

    Raises NewerFormat.
    """
    if len(page) < SEGMENT_COVERED.size + CHECKSUM.size:
        return None
    magic, version, chained, number, base, salt = SEGMENT_COVERED.unpack_from(page)
    (checksum,) = CHECKSUM.unpack_from(page, SEGMENT_COVERED.size)
    if magic != SEGMENT_MAGIC or checksum != zlib.crc32(page[: SEGMENT_COVERED.size]):
        return None
    if version > VERSION:
        raise NewerFormat("a segment of the journal", version, VERSION)
    if version != VERSION:
        return None
    if number > MOST_NUMBER or base > MOST_NUMBER:
        return None  # the next one could not be written
    return SegmentHeader(number, base, bool(chained), salt)


@dataclass
class Segment:
    """An open segment file. A recycled one has no header until it is used again."""

    path: Path
    descriptor: int
    size_bytes: int
    header: SegmentHeader | None

    @property
    def used_header(self) -> SegmentHeader:
        """The header of a segment that is in use."""
        assert self.header is not None
        return self.header

    @property
    def limit(self) -> int:
        """The position behind its last byte: no record of it ends later."""
        return self.used_header.base + self.size_bytes - PAGE_BYTES

    def file_offset(self, position: int) -> int:
        """Where in the file the record at `position` starts."""
        return PAGE_BYTES + position - self.used_header.base


def open_segment(path: Path, flags: int = os.O_RDWR) -> Segment:
    """Open an existing segment file and read its header; direct where the file system allows it.

    Raises OSError.
    """
    descriptor = open_direct(path, flags)
    try:
        with mmap.mmap(-1, PAGE_BYTES) as page:
            done = os.preadv(descriptor, [page], 0)
            header = decode_segment_header(page[:done])
        size_bytes = os.fstat(descriptor).st_size // PAGE_BYTES * PAGE_BYTES
    except BaseException:
        os.close(descriptor)
        raise
    return Segment(path, descriptor, size_bytes, header)


def open_direct(path: Path, flags: int) -> int:
    """A descriptor with O_DIRECT, or without it where the file system refuses (EINVAL)."""
    try:
        return os.open(path, flags | os.O_CLOEXEC | os.O_DIRECT, 0o600)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def chain(segments: list[Segment]) -> list[Segment]:
    """The segments that hold the unbroken newest part of the log, oldest first.

    A segment follows its predecessor only where its header says so; what is left over is free.
    The file of a segment is made durable as a whole before its successor's header is written, so
    only the newest one can have a torn tail.
    """
    by_number = {segment.header.number: segment for segment in segments if segment.header}
    if not by_number:
        return []
    chained = [by_number[max(by_number)]]
    while (header := chained[0].used_header).chained:
        before = by_number.get(header.number - 1)
        if before is None or not before.used_header.base <= header.base <= before.limit:
            break
        chained.insert(0, before)
    return chained


def scan(segment: Segment, start: int, end: int, previous: int | None) -> Iterator[Record]:
    """The valid records of one segment from position `start` on, at most up to `end`.

    `previous` is the checksum that the first one must continue; None accepts any. Ends without an
    error at the first page that is no valid record. Raises OSError when it cannot be read.
    """
    number = segment.used_header.number
    buffer = memoryview(mmap.mmap(-1, READ_BYTES + PAGE_BYTES))
    filled = place = 0
    position = start
    needed = PAGE_BYTES
    while position < end:
        if filled - place < needed:
            if needed > len(buffer):
                buffer = memoryview(mmap.mmap(-1, needed))
            filled = os.preadv(segment.descriptor, [buffer], segment.file_offset(position))
            place = 0
            if filled < needed:
                return
        magic, kind, before, in_segment, at, time_ns, offset, length, payload_bytes = (
            RECORD_COVERED.unpack_from(buffer, place)
        )
        if magic != RECORD_MAGIC or in_segment != number or at != position:
            return
        if offset + length > MAXIMUM_VOLUME_BYTES:
            return
        if previous is not None and before != previous:
            return
        needed = PAGE_BYTES + padded(payload_bytes)
        if position + needed > end:
            return
        if filled - place < needed:
            continue
        payload = buffer[place + PAGE_BYTES : place + PAGE_BYTES + payload_bytes]
        covered = buffer[place : place + RECORD_COVERED.size]
        (checksum,) = CHECKSUM.unpack_from(buffer, place + RECORD_COVERED.size)
        if checksum != zlib.crc32(payload, zlib.crc32(covered)) or kind not in _KINDS:
            return
        place += needed
        position += needed
        previous = checksum
        needed = PAGE_BYTES
        yield Record(at, position, _KINDS[kind], time_ns, offset, length, payload, checksum)


_KINDS = {kind.value: kind for kind in Kind}


def padded(payload_bytes: int) -> int:
    """Bytes that a payload takes on disk."""
    return -(-payload_bytes // PAGE_BYTES) * PAGE_BYTES


def describe(directory: Path) -> dict[str, Any]:
    """What a journal holds, for people and tools: positions, segments, records by kind, damage.

    Changes nothing and may look at a journal that is in use. Raises OSError.
    """
    opened = [open_segment(path, os.O_RDONLY) for path in sorted(directory.glob(PREFIX + "*"))]
    try:
        segments = chain(opened)
        described: list[dict[str, Any]] = []
        damaged_at: int | None = None
        end = 0
        for index, segment in enumerate(segments):
            header = segment.used_header
            newest = index == len(segments) - 1
            limit = segment.limit if newest else segments[index + 1].used_header.base
            kinds: Counter[str] = Counter()
            end = header.base
            for record in scan(segment, header.base, limit, header.checksum):
                kinds[record.kind.name.lower()] += 1
                end = record.end
            if not newest and end != limit and damaged_at is None:
                damaged_at = end
            described.append(
                {
                    "file": segment.path.name,
                    "number": header.number,
                    "base": header.base,
                    "end": end,
                    "chained": header.chained,
                    "records": dict(kinds),
                }
            )
        return {
            "begin": segments[0].used_header.base if segments else None,
            "position": end if segments else None,
            "damaged_at": damaged_at,
            "segments": described,
            "recycled": [segment.path.name for segment in opened if segment not in segments],
        }
    finally:
        for segment in opened:
            os.close(segment.descriptor)
