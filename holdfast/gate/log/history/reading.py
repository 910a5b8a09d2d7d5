"""What a history holds: records in order, and the gaps between them.

Invariant: between two gaps there is every write of the volume, or the reader is told of a gap;
nothing is ever left out in silence. Must never write.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from holdfast.gate.log.history.layout import FrameHeader
from holdfast.gate.log.history.segments import (
    FoundSegment,
    find,
    frames,
    in_order,
    open_directory,
)
from holdfast.gate.log.ring_layout import UNIT_BYTES
from holdfast.gate.log.ring_layout import padded as ring_padded
from holdfast.gate.log.segment import Kind, Record
from holdfast.model.size import MAXIMUM_VOLUME_BYTES

_KINDS = {kind.value: kind for kind in Kind}


class Gap(NamedTuple):
    """Writes between two positions that are not there; there may be none, nobody can tell."""

    position: int
    """Up to here everything is there."""
    end: int
    """From here on, too."""
    before_ns: int
    """Time of the newest record before it, 0: not known."""
    after_ns: int
    """When the history went on."""
    reason: str
    is_damage: bool = False
    """Whether a file was damaged or removed; else the writer told of it."""


class OneStep(NamedTuple):
    """What follows, up to the mark SETTLED, is one step: an image in between is a mixture."""

    position: int
    begun_ns: int


class Stretch(NamedTuple):
    """What is reachable from one position of a history to another one without a gap."""

    position: int
    end: int
    oldest_ns: int
    newest_ns: int
    """Of its records, 0: it has none."""
    gap: Gap | None
    """What follows it; None: it reaches to the end."""
    begun_ns: int = 0
    """When its first segment was begun."""


def read(path: Path, volume_id: bytes, from_position: int) -> Iterator[Record | Gap | OneStep]:
    """Records from that position on (one that lies in it begins before: it is told whole), and gaps
    between them, and where steps begin, in order.

    A payload is valid until the next record is asked for. Raises OSError: ENOENT when the history
    does not reach back so far, EIO when it cannot be read or has what nobody writes.
    """
    for item in read_frames(path, volume_id, from_position):
        if isinstance(item, Gap | OneStep):
            yield item
            continue
        header, content = item
        for record in records_of(header, content):
            if record.end > from_position:
                yield record


def stretches(path: Path, volume_id: bytes) -> list[Stretch]:
    """What can be reached, oldest first. Reads everything once. Raises OSError as `read`."""
    segments = in_order(find(path), volume_id)
    if not segments:
        return []
    found: list[Stretch] = []
    begin = end = segments[0].page.base
    begun = segments[0].page.begun_ns
    oldest = newest = 0
    for item in read_frames(path, volume_id, begin, segments):
        if isinstance(item, Gap):
            found.append(Stretch(begin, item.position, oldest, newest, item, begun))
            begin, end, begun = item.end, item.end, item.after_ns
            oldest = newest = 0
            continue
        if isinstance(item, OneStep):
            continue
        header, content = item
        for _ in records_of(header, content):
            pass  # raises for what no gate writes, though its checksum is right
        end = header.end
        if header.records:
            oldest = min(oldest or header.oldest_ns, header.oldest_ns)
            newest = max(newest, header.newest_ns)
    return [*found, Stretch(begin, end, oldest, newest, None, begun)]


def read_frames(
    path: Path,
    volume_id: bytes,
    from_position: int,
    segments: Sequence[FoundSegment] | None = None,
) -> Iterator[tuple[FrameHeader, memoryview] | Gap | OneStep]:
    """Frames that end behind that position, gaps, and the begins of steps.

    A frame's bytes are valid until the next one is asked for. Raises OSError as `read`.
    """
    if segments is None:
        segments = in_order(find(path), volume_id)
    if not segments or from_position < segments[0].page.base:
        raise OSError(errno.ENOENT, f"the history does not reach back to {from_position}")
    directory = open_directory(path)
    try:
        for index, segment in enumerate(segments):
            after = segments[index + 1] if index + 1 < len(segments) else None
            if after is not None and after.page.base <= from_position:
                continue
            limit = _limit(segment, after)
            if segment.page.unsettled and segment.page.base >= from_position:
                yield OneStep(segment.page.base, segment.page.begun_ns)
            end, newest = segment.page.base, segment.page.before_ns
            try:
                for header, content in frames(directory, segment, from_position):
                    if limit is not None and header.end > limit:
                        break
                    end, newest = header.end, max(newest, header.newest_ns)
                    yield header, content
            except OSError as error:
                if error.errno != errno.EIO or after is None:
                    words = f"{segment.path} cannot be read at position {end}: {error.strerror}"
                    raise OSError(error.errno, words) from error
            if after is None or limit is None:
                return
            end = max(end, min(from_position, limit))
            gap = _gap(segment, after, end, newest)
            if gap is not None:
                yield gap
    finally:
        os.close(directory)


def _limit(segment: FoundSegment, after: FoundSegment | None) -> int | None:
    """Up to which position a segment counts; None: to its end."""
    if after is None:
        return None
    if after.page.chained or after.page.follows != segment.page.salt:
        return after.page.base
    return max(after.page.gap_from, segment.page.base)


def _gap(segment: FoundSegment, after: FoundSegment, end: int, newest_ns: int) -> Gap | None:
    """What lies between two segments of which the first one was whole up to `end`."""
    page = after.page
    follows = page.follows == segment.page.salt
    if follows and page.chained and end == page.base:
        return None
    reason = page.reason if follows and not page.chained else ""
    is_damage = not follows or end != _limit(segment, after)
    if not follows:
        reason = f"what was between segments {segment.page.number} and {page.number} is missing"
    elif end != _limit(segment, after):
        damaged = f"segment {segment.page.number} is damaged at position {end}"
        reason = f"{damaged}; {reason}" if reason else damaged
    return Gap(end, page.base, newest_ns or page.before_ns, page.begun_ns, reason, is_damage)


_HEADER = struct.Struct("<6Q")
_MOST_PAYLOAD_BYTES = 1 << 20
"""As ring.LONGEST_BYTES."""


def records_of(header: FrameHeader, content: memoryview) -> Iterator[Record]:
    """The whole records of a frame. Raises OSError(EIO) for one that no gate writes."""
    place = 0
    while place < len(content):
        position, size, kind, offset, length, time_ns = _HEADER.unpack_from(content, place)
        known = _KINDS.get(kind)
        payload_bytes = length if known is Kind.DATA else 0
        if (
            position != header.position + place
            or size < UNIT_BYTES
            or size % UNIT_BYTES
            or size > len(content) - place
            or (kind and known is None)
            or (known is not None and size != UNIT_BYTES + ring_padded(payload_bytes))
            or payload_bytes > _MOST_PAYLOAD_BYTES
            or offset + length > MAXIMUM_VOLUME_BYTES
        ):
            raise OSError(errno.EIO, f"the history has no record at {header.position + place}")
        if known is not None:
            payload = content[place + UNIT_BYTES : place + UNIT_BYTES + payload_bytes]
            yield Record(position, position + size, known, time_ns, offset, length, payload, 0)
        place += size
