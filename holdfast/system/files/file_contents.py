"""Copying the contents of one open file into another: where they differ, holes as holes.

Invariant: a file that was written before is compared, and only what differs is written.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Iterable, Iterator

CHUNK_BYTES = 1 << 20
_PUNCH_HOLE, _KEEP_SIZE = 2, 1  # <linux/falloc.h>
_LIBC = ctypes.CDLL(None, use_errno=True)


Changed = Callable[[int, int], None]
"""Told from where to where a file has got other contents, in rising order."""


def make_equal(
    reading: int,
    writing: int,
    *,
    is_new: bool,
    changed: Changed = lambda start, end: None,
    goes_on: Callable[[int], None] = lambda done: None,
) -> int:
    """Give one file the contents and the size of another; how many bytes were written.

    `is_new`: it is empty, so that nothing is compared. `changed` is not told of what lies beyond
    the new size. `goes_on` is called after each piece with how many bytes of it were written.
    Offsets of the descriptors may change (where holes are looked for). Raises
    OSError. Not durable; blocks when the storage does.
    """
    size_bytes = os.fstat(reading).st_size
    if os.fstat(writing).st_size > size_bytes:
        os.ftruncate(writing, size_bytes)
    written = 0
    chunk_bytes = min(CHUNK_BYTES, size_bytes)
    ours, theirs = bytearray(chunk_bytes), bytearray(0 if is_new else chunk_bytes)
    position = 0
    for start, end in _data_ranges(reading, size_bytes):
        if not is_new and _punch(writing, position, start):
            changed(position, start)
        for offset in range(start, end, CHUNK_BYTES):
            want = min(CHUNK_BYTES, end - offset)
            got = os.preadv(reading, [memoryview(ours)[:want]], offset)
            if got == 0:
                break  # it was truncated meanwhile: the next pass sees it
            part = memoryview(ours)[:got]
            if not is_new and _is_there(writing, offset, ours, theirs, got):
                goes_on(0)
                continue
            written += _write(writing, part, offset)
            changed(offset, offset + got)
            goes_on(got)
        position = end
    if not is_new and _punch(writing, position, size_bytes):
        changed(position, size_bytes)
    if os.fstat(writing).st_size != size_bytes:
        os.ftruncate(writing, size_bytes)
    return written


def copy_ranges(reading: int, writing: int, ranges: Iterable[tuple[int, int]]) -> int:
    """Give one file these parts, and the size, of another; how many bytes were written. Raises
    OSError."""
    size_bytes = os.fstat(reading).st_size
    written = 0
    for start, end in ranges:
        for offset in range(start, min(end, size_bytes), CHUNK_BYTES):
            part = os.pread(reading, min(CHUNK_BYTES, end - offset), offset)
            written += _write(writing, memoryview(part), offset)
    os.ftruncate(writing, size_bytes)
    return written


def _is_there(writing: int, offset: int, ours: bytearray, theirs: bytearray, length: int) -> bool:
    """Whether a file has the beginning of `ours` already. As bytes: views are compared fifty times
    slower."""
    if os.preadv(writing, [memoryview(theirs)[:length]], offset) != length:
        return False
    return ours == theirs if length == len(ours) else ours[:length] == theirs[:length]


def _write(writing: int, part: memoryview, offset: int) -> int:
    total = len(part)
    while part:
        done = os.pwrite(writing, part, offset)
        part = part[done:]
        offset += done
    return total


def _data_ranges(reading: int, size_bytes: int) -> Iterator[tuple[int, int]]:
    """(start, end) of what is no hole; all of it where the file system does not tell."""
    position = 0
    while position < size_bytes:
        try:
            start = os.lseek(reading, position, os.SEEK_DATA)
            end = os.lseek(reading, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            if error.errno != errno.EINVAL:
                raise
            start, end = position, size_bytes
        if start < position or end <= start:  # a server of FUSE may say anything
            start, end = position, size_bytes
        yield start, min(end, size_bytes)
        position = end


def _punch(writing: int, start: int, end: int) -> bool:
    """Make a range read as zeros, within the file's present size; whether it was anything else."""
    end = min(end, os.fstat(writing).st_size)
    if start >= end or _is_hole(writing, start, end):
        return False
    number = ctypes.c_int(_PUNCH_HOLE | _KEEP_SIZE)
    length = ctypes.c_longlong(end - start)
    if _LIBC.fallocate(writing, number, ctypes.c_longlong(start), length) == 0:
        return True
    zeros = bytes(CHUNK_BYTES)
    for offset in range(start, end, CHUNK_BYTES):
        _write(writing, memoryview(zeros)[: min(CHUNK_BYTES, end - offset)], offset)
    return True


def _is_hole(descriptor: int, start: int, end: int) -> bool:
    try:
        return os.lseek(descriptor, start, os.SEEK_DATA) >= end
    except OSError as error:
        return error.errno == errno.ENXIO
