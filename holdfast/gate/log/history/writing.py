"""Writing a history: frames into the newest segment, one segment after the other.

Owns the directory while a gate has the volume. Invariants: everything up to `durable` is on the
storage, and stays readable whatever fails afterwards; a segment is whole and durable before its
successor exists; a segment in which anything failed is never written to again, nor synced; neither
is one of an earlier process: whoever comes next begins the next segment at a position that is known
to be durable. So nothing that is late (a process that hangs in its last write) can be taken for the
newest. What lies behind the place from which a successor goes on does not count.

One thread at a time. Blocks as the storage does. Raises OSError.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from holdfast.gate.log.history.fence import is_marked, mark_fence, take_fence, unmark_fence
from holdfast.gate.log.history.layout import (
    NO_SALT,
    PAGE_BYTES,
    Mark,
    SegmentPage,
    seal_frame,
)
from holdfast.gate.log.history.reading import records_of
from holdfast.gate.log.history.retention import KeptSegment
from holdfast.gate.log.history.room import ALLOCATED_BYTES, FIRST_BYTES
from holdfast.gate.log.history.segments import (
    FoundSegment,
    frames,
    names,
    open_directory,
    open_segment_file,
    reserve,
    segment_name,
    write_all,
)
from holdfast.gate.log.history.shelf import Shelf
from holdfast.gate.log.segment import Kind
from holdfast.system.processes.process import close_quietly
from holdfast.system.resources.memory import aligned_buffer

SEGMENT_BYTES = 64 << 20
"""Of a file: rolling over (a sync, and a new name) is rare at a gigabyte a second, and what can be
removed at a time is a small part of any limit."""

CHECKED_NS = 10**9
"""How often it is seen that what is written is what the path shows: whoever removes it, or mounts
something over it, is told of it that soon."""

PARTS_OF_AGE = 8
"""A segment is ended when it is as old as this part of what is kept, however small: only whole ones
can be removed."""

LEAST_GAP_BYTES = 64
"""A gap takes at least one position, so that it is clear on which side of it an image is."""


class HistoryEnd(NamedTuple):
    """Where a history ends that nobody writes."""

    position: int
    is_closed: bool
    """Whether its last record is the mark CLOSED: nothing comes after."""


class _Empty(NamedTuple):
    """A segment that was begun in vain."""

    page: SegmentPage
    before: SegmentPage | None

    @property
    def name(self) -> str:
        return segment_name(self.page.number)


class HistoryWriter:
    """The writer of one volume's history. `open` first, then `begin` before anything is written."""

    def __init__(
        self,
        path: Path,
        volume_id: bytes,
        segment_bytes: int = SEGMENT_BYTES,
        *,
        keep_seconds: int = 0,
        limit_bytes: int = 0,
        needed: Callable[[], Sequence[int]] = tuple,
        lose: Callable[[Sequence[int]], None] = lambda positions: None,
    ) -> None:
        """`keep_seconds`, `limit_bytes`: what `retain` goes by; 0: no limit. `needed`: positions
        from which on copies need all of it; `lose`: told before one of them cannot be kept."""
        self.path = path
        self.segment_bytes = segment_bytes
        self._keep_ns = keep_seconds * 10**9
        self._limit_bytes = limit_bytes
        self._needed, self._lose = needed, lose
        self._volume_id = volume_id
        self._directory = -1
        self._fence = -1
        self._descriptor = -1
        self._newest: FoundSegment | None = None
        """When it was opened."""
        self._shelf = Shelf(path, volume_id)
        self._page: SegmentPage | None = None
        """Of the newest segment: the one that is written, or of an earlier process."""
        self._place = self._allocated = 0
        self._checksum = 0
        self.position = 0
        """After the last frame that was written."""
        self.durable = 0
        """Everything before it is there after a power cut."""
        self._empty: _Empty | None = None
        """The newest segment, while nothing in it is durable: the next one takes its place."""
        self.is_cut = False
        """Whether segments that were there when they were looked for last are gone: the newest one,
        or all. None is ever removed so by a gate."""
        self._newest_ns = 0
        self._lived_ns = 0
        self._counted_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._checked_ns = 0

    def open(self, *, first: bool = False) -> None:
        """Find the newest segment, with the fence of the directory, which must be there, and have
        been that of a history before unless this is the `first` time. Raises OSError: EMEDIUMTYPE
        where it is another volume's."""
        self.close()
        self._directory = open_directory(self.path)
        self._fence = take_fence(self._directory, self.path, make=first)
        self._newest = self._shelf.open(self._directory)
        if first and self._newest is None:
            unmark_fence(self._fence)
        self.is_cut = (
            is_marked(self._fence) and self._newest is None
            if self._page is None
            else not self._shelf.has(self._page)
        )
        if self._empty is not None and not self._shelf.has(self._empty.page):
            self._empty = None
        self._page = self._newest.page if self._newest is not None else None
        if self._page is not None:
            self._newest_ns = max(self._newest_ns, self._page.before_ns)
            self._lived_ns = max(self._lived_ns, self._page.lived_ns)

    def look_further(self) -> bool:
        """Look at some more of the older segments, which only `retain` and `kept` need; whether
        all were looked at. Raises OSError."""
        return self._shelf.look_further(self._directory)

    @property
    def kept(self) -> tuple[list[SegmentPage], int]:
        """What is kept as far as it was looked at, oldest first, and the bytes of these files, with
        what the one that is written may become. Any thread may ask."""
        kept = list(self._shelf.kept)
        return [each.page for each in kept], sum(each.size_bytes for each in kept)

    @property
    def is_new(self) -> bool:
        """Whether the directory has no segment of this volume."""
        return self._page is None

    def find_end(self) -> HistoryEnd:
        """The position up to which the newest segment can be proven, durable now.

        After the host went down: what is read then is on the storage. After the death of a process
        alone it may not be, and the ring knows better. Raises OSError, also when there is none.
        """
        newest = self._newest
        if newest is None:
            raise OSError(errno.ENOENT, f"{self.path} holds no history of this volume")
        end, is_closed = newest.page.base, False
        for header, content in frames(self._directory, newest):
            end = header.end
            for record in records_of(header, content):
                is_closed = record.kind is Kind.MARK and record.offset == Mark.CLOSED
            self._newest_ns = max(self._newest_ns, header.newest_ns)
            self._lived_ns = max(self._lived_ns, header.lived_ns)
        self._sync_other(newest)
        return HistoryEnd(end, is_closed)

    def _sync_other(self, segment: FoundSegment) -> None:
        descriptor = open_segment_file(self._directory, segment.path, os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def begin(
        self, base: int, gap_from: int | None = None, reason: str = "", *, unsettled: bool = False
    ) -> None:
        """Go on at that position in a new segment, which is durable when this returns.

        Without `gap_from` everything before is in the segments that are there, durable (an end of a
        frame, or of what they hold). With it, nothing between the two positions is. `unsettled`:
        see SegmentPage. May be called again after anything has failed.
        """
        self._leave()
        before, empty = self._page, self._empty
        if empty is not None:  # nobody needs it, and what it tells of is told by the next one
            before = empty.before
            if before is not None and not empty.page.chained:
                gap_from, reason = empty.page.gap_from, empty.page.reason
        is_first = before is None
        if gap_from is not None and base < gap_from + LEAST_GAP_BYTES:
            raise ValueError("a gap takes a position")
        number = max((number for number, _ in names(self._directory)), default=0) + 1
        page = SegmentPage(
            number=number,
            base=base,
            salt=os.urandom(16),
            volume_id=self._volume_id,
            follows=before.salt if before is not None else NO_SALT,
            chained=gap_from is None and not is_first,
            unsettled=unsettled and gap_from is None and not is_first,
            gap_from=base if gap_from is None else gap_from,
            before_ns=self._newest_ns,
            begun_ns=time.time_ns(),
            lived_ns=self._live(),
            reason=reason,
        )
        path = self.path / segment_name(number)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        descriptor = open_segment_file(self._directory, path, flags)
        try:
            reserve(descriptor, 0, FIRST_BYTES)
            buffer = memoryview(aligned_buffer(PAGE_BYTES))
            buffer[:] = page.encode()
            write_all(descriptor, buffer, 0)
            os.fsync(descriptor)
            os.fsync(self._directory)
        except BaseException:
            close_quietly(descriptor)
            with suppress(OSError):
                os.unlink(path.name, dir_fd=self._directory)
            raise
        if empty is not None:
            with suppress(OSError):
                os.unlink(empty.name, dir_fd=self._directory)
            self._shelf.forget(empty.name)
        if is_first:
            mark_fence(self._fence)
        self._shelf.add(KeptSegment(path.name, page, self.segment_bytes))
        self._empty = None if page.unsettled else _Empty(page, before)
        self._descriptor, self._page = descriptor, page
        self._allocated = FIRST_BYTES
        self._place, self._checksum = PAGE_BYTES, page.checksum
        self.position = self.durable = base

    def write(
        self, frame: memoryview, size_bytes: int, records: int, oldest_ns: int, newest_ns: int
    ) -> None:
        """Write the next frame: page aligned, of `frame_file_bytes(size_bytes)` bytes, the records
        behind room for its header. Not durable before `sync`.

        After an OSError: `begin` at `durable`.
        """
        if self._descriptor < 0:
            raise OSError(errno.EBADF, "the history is not being written")
        page, lived_ns = self._page, self._live()
        assert page is not None
        is_old = self._keep_ns and lived_ns - page.lived_ns > self._keep_ns // PARTS_OF_AGE
        is_large = self._place + len(frame) > self.segment_bytes
        if (is_old or is_large) and self._place > PAGE_BYTES:
            self._roll()
            page = self._page
            assert page is not None
        times = oldest_ns, newest_ns, lived_ns
        try:
            if self._place + len(frame) > self._allocated:
                length = max(len(frame), ALLOCATED_BYTES)
                reserve(self._descriptor, self._allocated, length)
                self._allocated += length
            checksum = seal_frame(
                frame, page.number, self.position, size_bytes, records, times, self._checksum
            )
            write_all(self._descriptor, frame, self._place)
        except BaseException:
            self._leave()
            raise
        self._place += len(frame)
        self._checksum = checksum
        self.position += size_bytes
        self._newest_ns = max(self._newest_ns, newest_ns)

    def sync(self) -> None:
        """Make durable what was written. After an OSError: `begin` at `durable`; this file is not
        synced again, as it may say that all is well then."""
        if self.durable == self.position:
            return
        self.check_place()
        try:
            os.fdatasync(self._descriptor)
        except BaseException:
            self._leave()
            raise
        self.durable = self.position
        self._empty = None

    def check_place(self, *, at_once: bool = False) -> None:
        """Raise OSError when what is written is not what the path shows any more: it was removed,
        moved, or something was mounted over it. Looks once in CHECKED_NS, or `at_once`."""
        if self._descriptor < 0:
            raise OSError(errno.EBADF, "the history is not being written")
        self._live()
        if not at_once and self._counted_ns - self._checked_ns < CHECKED_NS:
            return
        assert self._page is not None
        path = self.path / segment_name(self._page.number)
        for place, descriptor in (self.path, self._directory), (path, self._descriptor):
            try:
                is_there = os.path.samestat(os.lstat(place), os.fstat(descriptor))
            except FileNotFoundError:
                is_there = False
            if not is_there:
                self._leave()
                raise OSError(errno.ENOENT, f"{place} was removed, or something else is there now")
        self._checked_ns = self._counted_ns

    def _roll(self) -> None:
        """Seal the segment, then begin its successor: not where it is gone, which nobody would see
        any more behind that one."""
        self.check_place(at_once=True)
        try:
            os.ftruncate(self._descriptor, self._place)
            os.fsync(self._descriptor)
        except BaseException:
            self._leave()
            raise
        self.durable = self.position
        self._empty = None
        self._allocated = self._place
        self.begin(self.position)
        self.retain()

    def retain(self) -> None:
        """Remove segments that are too old, or too much. What cannot be removed is tried again by
        the next call; nothing depends on it."""
        self._retain(is_full=False)

    def make_room(self) -> None:
        """Its disk is full: as `retain`, and copies keep nothing there that is too old. Where
        nothing is ever too old, nothing is removed."""
        self._retain(is_full=True)

    def _retain(self, *, is_full: bool) -> None:
        lived_ns, limits = self._live(), (self._keep_ns, self._limit_bytes)
        with suppress(OSError):
            needed = self._needed()
            self._shelf.retain(
                self._directory, lived_ns, limits, needed, self._lose, is_full=is_full
            )

    @property
    def lived_ns(self) -> int:
        """How long the history has been kept; see SegmentPage.lived_ns."""
        return self._live()

    def lived_at_least(self, lived_ns: int) -> None:
        """Somebody who kept it before says so: pages tell only when they were begun."""
        self._lived_ns = max(self._lived_ns, lived_ns)

    def _live(self) -> int:
        """How long the history has been kept; see SegmentPage.lived_ns."""
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._lived_ns += max(0, now - self._counted_ns)
        self._counted_ns = now
        return self._lived_ns

    def _leave(self) -> None:
        """The segment is not written any more."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            self._shelf.ends_with(self._allocated)
            close_quietly(descriptor)  # what was not synced does not count, whatever this says

    def close(self) -> None:
        """Idempotent. What was not synced may be lost."""
        self._leave()
        descriptors = self._directory, self._fence
        self._directory = self._fence = -1
        for descriptor in descriptors:
            if descriptor >= 0:
                close_quietly(descriptor)
