"""An opened past view: what its file does not have is read from the copy below.

What each method promises: see BackEnd. Invariants: the copy is never written. A unit that the
durable map has is durable in the file. What a killed process had written is there for the next one:
the present map lies in the page cache, which outlives processes and not the host. So after the host
went down each unit is as it was flushed last, or older than that never.
"""

from __future__ import annotations

import errno
import mmap
import os
import threading
from collections.abc import Iterator

from holdfast.containers.back_end import TRUNCATED, DescriptorBackEnd
from holdfast.containers.past_layout import PAGE_BYTES, PastHeader

_PRESENT = 1


class PastBackEnd:
    """See above. `own`: its file, for data; `maps`: the same, through the page cache; `base`: the
    copy, opened for reading. Owns all three."""

    descriptor = -1
    """None that says all of it."""

    def __init__(
        self,
        header: PastHeader,
        own: DescriptorBackEnd,
        maps: DescriptorBackEnd,
        base: DescriptorBackEnd,
        boot: str,
    ) -> None:
        """Raises OSError."""
        self._header = header
        self._own, self._maps, self._base = own, maps, base
        self._parts = (own, maps, base)
        self.identity = own.identity
        self._changing = threading.Lock()
        """Of the map, and of units that are taken over."""
        self._flushing = threading.Lock()
        """Whoever comes while others flush has to wait: it may rely on what they write down."""
        self._unit = memoryview(mmap.mmap(-1, header.unit_bytes))
        self._present = self._map_as_left(boot)
        durable = self._read_map(header.durable_place)
        pages = range(0, header.map_bytes, PAGE_BYTES)
        self._dirty = {
            place // PAGE_BYTES
            for place in pages
            if self._present[place : place + PAGE_BYTES] != durable[place : place + PAGE_BYTES]
        }
        """Pages of the map that the durable one lacks."""
        own.expect(header.file_bytes)
        base.expect(header.base_bytes)

    def _map_as_left(self, boot: str) -> bytearray:
        """The map as the process before left it; after the host went down, as it was flushed."""
        header, mark = self._header, boot.encode().ljust(PAGE_BYTES, b"\0")
        if os.pread(self._maps.descriptor, PAGE_BYTES, header.boot_place) == mark:
            return self._read_map(header.present_place)
        found = self._read_map(header.durable_place)
        self._maps.write(memoryview(found), header.present_place)
        self._maps.write(memoryview(mark), header.boot_place)  # killed before, it is done again
        return found

    def _read_map(self, place: int) -> bytearray:
        found = bytearray(self._header.map_bytes)
        self._maps.read(memoryview(found), place)
        return found

    def size_bytes(self) -> int:
        """That of the container, not of its file."""
        return self._header.size_bytes

    def expect(self, size_bytes: int) -> None:
        """Its file has one size for ever: nothing else is expected."""

    def check_whole(self) -> None:
        """Of both files."""
        self._own.check_whole()
        self._base.check_whole()

    def take_requests_of(self, unit_bytes: int) -> None:
        """As both files can."""
        self._own.take_requests_of(min(unit_bytes, PAGE_BYTES))
        self._base.take_requests_of(min(unit_bytes, PAGE_BYTES))

    def read(self, view: memoryview, offset: int) -> None:
        """From the file, the copy, or neither, in as many parts as it takes."""
        self._check_inside(offset, len(view))
        for begin, end, is_own in self._runs(offset, offset + len(view)):
            part = view[begin - offset : end - offset]
            if is_own:
                self._own.read(part, begin)
            else:
                self._read_base(part, begin)

    def _read_base(self, view: memoryview, offset: int) -> None:
        there = max(0, min(len(view), self._header.base_bytes - offset))
        if there:
            self._base.read(view[:there], offset)
        if there < len(view):
            view[there:] = bytes(len(view) - there)

    def _runs(self, begin: int, end: int) -> Iterator[tuple[int, int, bool]]:
        """Parts of a range, each as long as it can be, and whether the file has it."""
        unit, last = self._header.unit_bytes, -(-end // self._header.unit_bytes)
        while begin < end:
            number = begin // unit
            is_own = self._present[number] == _PRESENT
            until = self._present.find(0 if is_own else _PRESENT, number, last)
            stop = end if until < 0 else min(end, until * unit)
            yield begin, stop, is_own
            begin = stop

    def write(self, view: memoryview, offset: int) -> None:
        """To the file; units of which it is only a part are taken over from the copy before."""
        self._check_inside(offset, len(view))
        self._take_over_edges(offset, len(view))
        self._own.write(view, offset)
        self._note(offset, len(view))

    def zero(self, offset: int, length: int, *, keep_allocated: bool) -> int:
        """In the file, which then has it."""
        self._check_inside(offset, length)
        self._take_over_edges(offset, length)
        unit, done = self._header.unit_bytes, 0
        while not done or (done < length and (offset + done) % unit):  # whole units are noted
            most = length - done if not done else unit - (offset + done) % unit
            most = min(most, length - done)
            done += self._own.zero(offset + done, most, keep_allocated=keep_allocated)
        self._note(offset, done)
        return done

    def _take_over_edges(self, offset: int, length: int) -> None:
        unit, end = self._header.unit_bytes, offset + length
        for number in {offset // unit, (end - 1) // unit}:
            begin = number * unit
            stop = min(begin + unit, self._header.size_bytes)
            is_part = offset > begin or end < stop
            if is_part and self._present[number] != _PRESENT:
                self._take_over(number)

    def _take_over(self, number: int) -> None:
        offset = number * self._header.unit_bytes
        with self._changing:
            if self._present[number] == _PRESENT:
                return
            self._read_base(self._unit, offset)
            self._own.write(self._unit, offset)
            self._set(number, number + 1)

    def _note(self, offset: int, length: int) -> None:
        """The file has all units of that range from now on."""
        unit = self._header.unit_bytes
        first, end = offset // unit, -(-(offset + length) // unit)
        if self._present.find(0, first, end) < 0:
            return
        with self._changing:
            self._set(first, end)

    def _set(self, first: int, end: int) -> None:
        ones = bytes((_PRESENT,)) * (end - first)
        # The page cache before our own memory: what is answered by it is never forgotten.
        self._maps.write(memoryview(ones), self._header.present_place + first)
        self._present[first:end] = ones
        self._dirty.update(range(first // PAGE_BYTES, (end - 1) // PAGE_BYTES + 1))

    def _check_inside(self, offset: int, length: int) -> None:
        if offset < 0 or offset + length > self._header.size_bytes:
            raise OSError(errno.EIO, TRUNCATED)

    def flush(self) -> None:
        """The data, then the map that tells of them."""
        with self._flushing:
            with self._changing:
                pages, self._dirty = sorted(self._dirty), set()
                copied = {
                    page: bytes(self._present[page * PAGE_BYTES : (page + 1) * PAGE_BYTES])
                    for page in pages
                }
            self._own.flush()
            for page, content in copied.items():
                place = self._header.durable_place + page * PAGE_BYTES
                self._maps.write(memoryview(content), place)
            if copied:
                self._maps.flush()

    def next_data(self, offset: int, end: int) -> int:
        """Of whichever of the two has it."""
        for begin, stop, is_own in self._runs(offset, min(end, self._header.size_bytes)):
            limit = stop if is_own else min(stop, self._header.base_bytes)
            if begin < limit:
                found = (self._own if is_own else self._base).next_data(begin, limit)
                if found < limit:
                    return found
        return end

    def release(self) -> None:
        """Of all files."""
        for each in self._parts:
            each.release()

    def close(self) -> None:
        """Of all files."""
        for each in self._parts:
            each.close()
