"""The journal: an append-only log of writes in segment files of one directory.

Owns the directory. Invariants: what `append` returned is found by the next `open` of the same
boot, what `flush` returned for is found after a power cut too, and nothing is found that was not
appended; records are found without gaps or not at all. Nothing that matters is kept in process
memory: a process may be killed at any instruction.
Must never write over a record before it was trimmed, nor go on after a failed flush as if it had
not happened (the kernel forgets such pages).

`append`, `trim`, `restart` and `close` are serialised by the caller. `flush` (one at a time) and
`records` may run beside them in other threads.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

from holdfast.gate.log.hint import Hint
from holdfast.gate.log.segment import (
    CHECKSUM,
    PAGE_BYTES,
    PREFIX,
    READ_BYTES,
    RECORD_COVERED,
    RECORD_MAGIC,
    Kind,
    Record,
    Segment,
    SegmentHeader,
    chain,
    describe,
    open_direct,
    open_segment,
    padded,
    scan,
)
from holdfast.system.files.durable import sync_directory

__all__ = ["Journal", "Kind", "Record", "describe"]

SEGMENT_BYTES = 64 << 20
"""Large enough that rolling over (a flush and two small writes) is rare at a gigabyte a second,
small enough that a few of them are no burden to a host."""

RECYCLED_SEGMENTS = 2
"""Trimmed files that are kept, so that appends overwrite blocks the file system has allocated."""


class Journal:
    """The journal in `directory`. Call `open` first; then it can be used until `close`."""

    def __init__(self, directory: Path, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.directory = directory
        self.segment_bytes = segment_bytes // PAGE_BYTES * PAGE_BYTES
        self.begin = 0
        """Position from which on every record is there."""
        self.position = 0
        """Position after the last record: where the next one goes."""
        self.flushed = 0
        """Position up to which everything is known to be durable."""
        self._segments: list[Segment] = []
        self._recycled: list[Segment] = []
        self._closing = threading.Lock()
        """Held while a descriptor is closed and while `flush` uses one."""
        self._previous = 0
        self._flush_errno = 0
        self._hint: Hint | None = None
        self._header = mmap.mmap(-1, PAGE_BYTES)
        self._covered = memoryview(self._header)[: RECORD_COVERED.size]
        self._copy: mmap.mmap | None = None

    # Opening and closing

    def open(self, minimum_position: int = 0, seal: bool = False) -> None:
        """Find the records; cut a torn tail; make the directory when there is none.

        Positions continue at `minimum_position` at least (give the highest that any superblock or
        gate.json has recorded): when the journal was lost or is behind, it starts anew there, so
        that a position never has two meanings. `seal` starts a new segment: needed when the
        process that wrote before may still have a write under way. Raises OSError.
        """
        self.close()
        if not self.directory.is_dir():
            self.directory.mkdir(parents=True, mode=0o700)
            sync_directory(self.directory.parent)
        try:
            self._hint = Hint(self.directory)
            for path in sorted(self.directory.glob(PREFIX + "*")):
                self._recycled.append(open_segment(path))
            self._segments = chain(self._recycled)
            self._recycled = [each for each in self._recycled if each not in self._segments]
            self._drop_surplus()
            if not self._segments:
                self._start_segment(minimum_position, chained=False, number=1)
                return
            self._find_end()
            if self.position < minimum_position:
                self.restart(minimum_position)
            elif seal:
                self._roll()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the files; nothing is flushed. Idempotent."""
        with self._closing:
            for segment in (*self._segments, *self._recycled):
                os.close(segment.descriptor)
            self._segments, self._recycled = [], []
            if self._hint is not None:
                self._hint.close()
                self._hint = None

    @property
    def used_bytes(self) -> int:
        """Bytes of storage that the journal takes, recycled files included."""
        return sum(segment.size_bytes for segment in (*self._segments, *self._recycled))

    # Writing

    def append(self, kind: int, offset: int, length: int, payload: memoryview | None) -> int:
        """Write one record; returns the position after it. Survives this process, not the host.

        `length` is what the record is about, the payload its bytes (of `data`: `length` of them).
        Blocks on the storage. Raises OSError: the record is not part of the journal then and the
        next one takes its place; after a failed `flush`, always.
        """
        payload_bytes = 0 if payload is None else payload.nbytes
        total = PAGE_BYTES + padded(payload_bytes)
        if self._flush_errno:
            raise OSError(self._flush_errno, "an earlier flush of the journal failed")
        segment = self._segments[-1]
        position = self.position
        if position + total > segment.limit:
            if total > self.segment_bytes - PAGE_BYTES:
                raise OSError(errno.EFBIG, f"a record of {total} bytes exceeds a segment")
            self._roll()
            segment = self._segments[-1]
        header = segment.header
        assert header is not None
        RECORD_COVERED.pack_into(
            self._header,
            0,
            RECORD_MAGIC,
            kind,
            self._previous,
            header.number,
            position,
            time.time_ns(),
            offset,
            length,
            payload_bytes,
        )
        checksum = zlib.crc32(self._covered)
        if payload is not None:
            checksum = zlib.crc32(payload, checksum)
        CHECKSUM.pack_into(self._header, RECORD_COVERED.size, checksum)
        self._write(segment, PAGE_BYTES + position - header.base, payload, total)
        self._previous = checksum
        self.position = position + total
        if self._hint is not None:
            self._hint.offer(header.number, position)
        return self.position

    def flush(self) -> None:
        """Make durable what was appended before the call; returns at once when nothing was.

        Raises OSError. From then on `append` and `flush` fail too, until `restart`: what the
        kernel could not write once it may report as written the next time.
        """
        with self._closing:
            if self._flush_errno:
                raise OSError(self._flush_errno, "an earlier flush of the journal failed")
            position = self.position
            if position > self.flushed:
                self._sync(self._segments[-1])
                self.flushed = max(self.flushed, position)

    def restart(self, minimum_position: int = 0) -> None:
        """Give up every record and begin anew at a higher position; durable when it returns.

        For when there is a gap: writes went to the legs that the journal does not hold. `begin`
        rises above every position handed out before, so that no leg can be made current from
        records before the gap. Raises OSError: the records are still there then, and `append`
        goes on failing if a flush had failed.
        """
        position = max(self.position + PAGE_BYTES, padded(minimum_position))
        number = self._segments[-1].used_header.number + 1
        self._start_segment(position, chained=False, number=number)
        self.trim(position)

    def trim(self, position: int) -> None:
        """Recycle or remove the segments that hold nothing from `position` on. Idempotent.

        Not durable by itself: after a power cut `begin` may be lower again, with every record from
        there on. Raises OSError when a surplus file cannot be removed.
        """
        while len(self._segments) > 1 and self._segments[1].used_header.base <= position:
            oldest = self._segments.pop(0)
            self.begin = self._segments[0].used_header.base
            self._recycled.append(oldest)
            oldest.header = None
            with contextlib.suppress(OSError):
                self._write_page(oldest, bytes(PAGE_BYTES))
        self._drop_surplus()

    # Reading

    def records(self, from_position: int) -> Iterator[Record]:
        """The records from `from_position` (the start of one, or the end) to the present end.

        Checks every checksum again. Raises OSError(EIO) when one of them is damaged, when
        `from_position` lies before `begin`, beyond the end or inside a record: never a silent gap.
        """
        end = self.position
        segments = list(self._segments)
        expected = from_position
        if not self.begin <= from_position <= end or from_position % PAGE_BYTES:
            raise OSError(errno.EIO, f"the journal has no position {from_position}")
        for index, segment in enumerate(segments):
            newest = index == len(segments) - 1
            limit = end if newest else segments[index + 1].used_header.base
            if limit <= expected:
                continue
            at_base = expected == segment.used_header.base
            previous = segment.used_header.checksum if at_base else None
            own = Segment(
                segment.path, os.dup(segment.descriptor), segment.size_bytes, segment.header
            )
            try:
                for record in scan(own, expected, limit, previous):
                    yield record
                    expected = record.end
            finally:
                os.close(own.descriptor)
            if expected != limit:
                raise OSError(errno.EIO, f"the journal is damaged at position {expected}")

    # Inside

    def _find_end(self) -> None:
        """Set begin and position from the newest segment, starting at the hint if it holds."""
        newest = self._segments[-1]
        header = newest.used_header
        self.begin = self._segments[0].used_header.base
        self.position, self._previous = header.base, header.checksum
        assert self._hint is not None
        near = self._hint.read(header)
        if near is not None:
            for record in scan(newest, near, newest.limit, None):
                self.position, self._previous = record.end, record.checksum
        if self.position == header.base:
            for record in scan(newest, header.base, newest.limit, header.checksum):
                self.position, self._previous = record.end, record.checksum
        self.flushed = header.base
        self._flush_errno = 0
        self._hint.expect_from(self.position)

    def _write(self, segment: Segment, at: int, payload: memoryview | None, total: int) -> None:
        """Write header and payload at a file offset. Raises OSError after erasing the header."""
        try:
            if payload is None:
                done = os.pwritev(segment.descriptor, [self._header], at)
            elif payload.nbytes + PAGE_BYTES != total:
                done = os.pwritev(segment.descriptor, [self._header, self._aligned(payload)], at)
            else:
                try:
                    done = os.pwritev(segment.descriptor, [self._header, payload], at)
                except OSError as error:
                    if error.errno != errno.EINVAL:
                        raise
                    aligned = self._aligned(payload)
                    done = os.pwritev(segment.descriptor, [self._header, aligned], at)
            if done != total:
                raise OSError(errno.EIO, f"the journal wrote {done} of {total} bytes")
        except OSError:
            self._header[:] = bytes(PAGE_BYTES)
            with contextlib.suppress(OSError):
                os.pwritev(segment.descriptor, [self._header], at)
            raise

    def _aligned(self, payload: memoryview) -> memoryview:
        """A page-aligned copy, padded with zeros to 4096 bytes; valid until the next one."""
        size = padded(payload.nbytes)
        if self._copy is None or len(self._copy) < size:
            self._copy = mmap.mmap(-1, max(size, READ_BYTES))
        self._copy[: payload.nbytes] = payload
        self._copy[payload.nbytes : size] = bytes(size - payload.nbytes)
        return memoryview(self._copy)[:size]

    def _roll(self) -> None:
        """Go on in a new segment. The full one is durable before the new header exists."""
        full = self._segments[-1]
        self._sync(full)
        number = full.used_header.number + 1
        self._start_segment(self.position, chained=True, number=number)

    def _start_segment(self, base: int, chained: bool, number: int) -> None:
        """Append to a new or recycled file from now on; its header is durable on return."""
        base = padded(base)
        segment = self._recycled[-1] if self._recycled else self._create_segment()
        header = SegmentHeader(number, base, chained, os.urandom(16))
        self._write_page(segment, header.encode())
        os.fdatasync(segment.descriptor)
        if segment in self._recycled:
            self._recycled.remove(segment)
        segment.header = header
        self._segments.append(segment)
        self.begin = self._segments[0].used_header.base
        self.position = self.flushed = base
        self._previous = header.checksum
        if self._hint is not None:
            self._hint.expect_from(base)
        self._flush_errno = 0

    def _create_segment(self) -> Segment:
        """A new file with all its blocks allocated; durable, or not there (OSError)."""
        taken = {segment.path.name for segment in (*self._segments, *self._recycled)}
        names = (f"{PREFIX}{index:03d}" for index in range(len(taken) + 1))
        path = self.directory / next(name for name in names if name not in taken)
        descriptor = open_direct(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        try:
            os.posix_fallocate(descriptor, 0, self.segment_bytes)
            os.fsync(descriptor)
            sync_directory(self.directory)
        except BaseException:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        return Segment(path, descriptor, self.segment_bytes, None)

    def _drop_surplus(self) -> None:
        """Remove recycled files beyond what is kept, and those of another size."""
        kept: list[Segment] = []
        with self._closing:
            for segment in self._recycled:
                if segment.size_bytes == self.segment_bytes and len(kept) < RECYCLED_SEGMENTS:
                    kept.append(segment)
                else:
                    os.close(segment.descriptor)
                    segment.path.unlink(missing_ok=True)
            self._recycled = kept

    def _write_page(self, segment: Segment, page: bytes) -> None:
        """Overwrite a segment's first page."""
        self._header[:] = page
        try:
            done = os.pwritev(segment.descriptor, [self._header], 0)
        finally:
            self._header[:] = bytes(PAGE_BYTES)
        if done != PAGE_BYTES:
            raise OSError(errno.EIO, f"the journal wrote {done} of {PAGE_BYTES} bytes")

    def _sync(self, segment: Segment) -> None:
        try:
            os.fdatasync(segment.descriptor)
        except OSError as error:
            self._flush_errno = error.errno or errno.EIO
            raise
