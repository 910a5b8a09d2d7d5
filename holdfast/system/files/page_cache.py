"""What the page cache has of a file, taken without asking its storage: `copy_from_memory`.

A page that mincore(2) reports is there and whole; it is read through a map, which asks no file
system. A page that is evicted between the two would be read from storage, which may hang: must
never be called outside an expendable child.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from collections.abc import Callable, Iterator
from struct import pack

from holdfast.system.raw_call import raw_call

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mmap.restype = ctypes.c_void_p
_LIBC.mmap.argtypes = [
    ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64
]  # fmt: skip
_LIBC.pwrite.restype = ctypes.c_ssize_t
_LIBC.pwrite.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64]
_LIBC.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
_LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_LIBC.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

_WINDOW_BYTES = 64 << 20
"""Mapped at once: its answer of mincore has 16 KiB."""
_FAILED = ctypes.c_void_p(-1).value  # MAP_FAILED
_RANDOM = 1  # MADV_RANDOM: without it a touch may begin to read ahead

_CACHESTAT = 451  # <asm-generic/unistd.h>, the same on every architecture
_CACHESTAT_BYTES = 40  # struct cachestat of <linux/mman.h>; the pages in memory come first

Range = tuple[int, int]
"""Offset and length, bytes."""


def copy_from_memory(
    reading: int, size_bytes: int, writing: int, may_take: Callable[[int], None]
) -> list[Range]:
    """Append to `writing`, at its beginning, what is in memory of `reading` below `size_bytes`.

    The ranges, in order: those bytes lie in `writing` one after the other. `reading` must be open
    for reading. `may_take` is told of bytes that are about to be taken, 0 now and then, and raises
    what ends it. Raises OSError when `writing` has no room.
    """
    ranges: list[Range] = []
    place = 0
    for start, length in _windows(reading, size_bytes):
        may_take(0)
        address = _LIBC.mmap(None, length, mmap.PROT_READ, mmap.MAP_SHARED, reading, start)
        if address == _FAILED:
            raise _error()
        try:
            _LIBC.madvise(address, length, _RANDOM)
            for offset, count in _present(address, length):
                may_take(count)
                for at, taken in _copied(address, offset, count, writing, place):
                    place += taken
                    _add(ranges, start + at, taken)
        finally:
            _LIBC.munmap(address, length)
    return ranges


def _windows(reading: int, size_bytes: int) -> Iterator[Range]:
    """The windows with anything in memory: a sparse file may have 2**37 of them without."""
    pieces = [(0, size_bytes)]
    while pieces:
        start, length = pieces.pop()
        if length == 0 or not _has_pages(reading, start, length):
            continue
        if length <= _WINDOW_BYTES:
            yield start, length
            continue
        half = -(-length // (2 * _WINDOW_BYTES)) * _WINDOW_BYTES
        pieces += [(start + half, length - half), (start, half)]


def _has_pages(reading: int, start: int, length: int) -> bool:
    """Whether cachestat(2) counts any; also where the kernel has no such call (before 6.5)."""
    where, answer = pack("=QQ", start, length), ctypes.create_string_buffer(_CACHESTAT_BYTES)
    try:
        raw_call(_CACHESTAT, reading, where, answer, ctypes.c_uint(0))
    except OSError:
        return True
    return answer.raw[:8] != bytes(8)


def _present(address: int, length: int) -> Iterator[Range]:
    """Which parts of a map are in memory."""
    page = mmap.PAGESIZE
    pages = -(-length // page)
    found = ctypes.create_string_buffer(pages)
    if _LIBC.mincore(address, length, found) != 0:
        raise _error()
    bits = found.raw
    number = 0
    while number < pages:
        if not bits[number] & 1:
            number += 1
            continue
        first = number
        while number < pages and bits[number] & 1:
            number += 1
        yield first * page, min(number * page, length) - first * page


def _copied(address: int, offset: int, count: int, writing: int, place: int) -> Iterator[Range]:
    """Write so much of a map; what of it could be read after all."""
    end = offset + count
    while offset < end:
        done = _LIBC.pwrite(writing, address + offset, end - offset, place)
        if done < 0 and ctypes.get_errno() == errno.EINTR:
            continue
        if done < 0 and ctypes.get_errno() == errno.EFAULT:
            offset = (offset // mmap.PAGESIZE + 1) * mmap.PAGESIZE
            continue
        if done < 0:
            raise _error()
        if done == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        yield offset, done
        offset += done
        place += done


def _add(ranges: list[Range], offset: int, length: int) -> None:
    if ranges and sum(ranges[-1]) == offset:
        ranges[-1] = ranges[-1][0], ranges[-1][1] + length
    else:
        ranges.append((offset, length))


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
