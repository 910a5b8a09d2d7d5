"""Copying the contents of one file: where they differ, holes as holes.

Invariant: a file that was written here before is compared and only what differs is written; access
times of the source are not changed. Must never look a name up: both sides are open already.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from holdfast.restoration.copying.inode import Properties, give, properties_of
from holdfast.restoration.copying.sharing import shared_bytes

CHUNK_BYTES = 1 << 20
_PUNCH_HOLE, _KEEP_SIZE = 2, 1  # <linux/falloc.h>
_COMPRESSION = "btrfs.compression"  # btrfs-property(8)
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Copied:
    """What one file came to."""

    written_bytes: int
    shared_bytes: int
    """Of the source, in extents that other files have as well; 0 when it was not asked for."""
    properties: Properties
    lost: list[str]
    """Properties that the target's file system could not keep."""


def copy_contents(reading: int, writing: int, is_new: bool, sharing: bool = False) -> Copied:
    """Make the target's contents and properties (but the late flags) equal to the source's.

    Both are descriptors of regular files. Meanwhile the target is root's alone, and no set-id bit
    counts. `sharing`: whether to find out what the source shares with others. Raises OSError.
    """
    if not is_new:
        os.fchmod(writing, 0o600)
    properties = properties_of(reading)
    lost = give(writing, properties)
    if is_new:
        _choose_compression(reading, writing)
    written_bytes = _copy_between(reading, writing, is_new)
    shared = shared_bytes(reading) if sharing else 0
    return Copied(written_bytes, shared, properties, lost)


def _choose_compression(reading: int, writing: int) -> None:
    """On btrfs what is written next is compressed as the source's contents are."""
    with suppress(OSError):
        os.setxattr(writing, _COMPRESSION, os.getxattr(reading, _COMPRESSION))


def _copy_between(reading: int, writing: int, is_new: bool) -> int:
    size_bytes = os.fstat(reading).st_size
    if os.fstat(writing).st_size > size_bytes:
        os.ftruncate(writing, size_bytes)
    written = 0
    chunk_bytes = min(CHUNK_BYTES, size_bytes)
    ours, theirs = bytearray(chunk_bytes), bytearray(0 if is_new else chunk_bytes)
    position = 0
    for start, end in _data_ranges(reading, size_bytes):
        if not is_new:
            _punch(writing, position, start)
        for offset in range(start, end, CHUNK_BYTES):
            want = min(CHUNK_BYTES, end - offset)
            got = os.preadv(reading, [memoryview(ours)[:want]], offset)
            if got == 0:
                break  # it was truncated meanwhile: the next pass sees it
            part = memoryview(ours)[:got]
            if not is_new:
                same = os.preadv(writing, [memoryview(theirs)[:got]], offset) == got
                if same and part == memoryview(theirs)[:got]:
                    continue
            written += _write(writing, part, offset)
        position = end
    if not is_new:
        _punch(writing, position, size_bytes)
    if os.fstat(writing).st_size != size_bytes:
        os.ftruncate(writing, size_bytes)
    return written


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


def _punch(writing: int, start: int, end: int) -> None:
    """Make a range read as zeros, within the file's present size."""
    end = min(end, os.fstat(writing).st_size)
    if start >= end:
        return
    number = ctypes.c_int(_PUNCH_HOLE | _KEEP_SIZE)
    length = ctypes.c_longlong(end - start)
    if _LIBC.fallocate(writing, number, ctypes.c_longlong(start), length) == 0:
        return
    zeros = bytes(CHUNK_BYTES)
    for offset in range(start, end, CHUNK_BYTES):
        _write(writing, memoryview(zeros)[: min(CHUNK_BYTES, end - offset)], offset)
