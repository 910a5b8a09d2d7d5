"""Which pages of a private file map are the process's own: proc_pid_pagemap(5).

Reads the page tables through /proc only and changes nothing; no page is brought in from storage.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct

PAGE_BYTES = os.sysconf("SC_PAGESIZE")

# <linux/fs.h>, struct pm_scan_arg (Linux 6.7): size, flags, start, end, walk_end, vec, vec_len,
# max_pages, category_inverted, category_mask, category_anyof_mask, return_mask
_SCAN = struct.Struct("<12Q")
_PAGEMAP_SCAN = (3 << 30) | (_SCAN.size << 16) | (ord("f") << 8) | 16
_IS_FILE, _IS_PRESENT, _IS_SWAPPED = 1 << 2, 1 << 3, 1 << 4
_REGION = struct.Struct("<3Q")
_REGIONS_AT_ONCE = 1024

_ENTRY_PRESENT, _ENTRY_SWAPPED, _ENTRY_FILE = 1 << 63, 1 << 62, 1 << 61
_ENTRIES_AT_ONCE = 1 << 16


def is_resident(pagemap: int, address: int) -> bool:
    """Whether the page at this address is in memory, or in swap: to read it asks no file system.

    `pagemap`: as in `own_pages`. False where nothing is mapped.
    """
    try:
        data = os.pread(pagemap, 8, address // PAGE_BYTES * 8)
    except OSError:
        return False
    entry = int.from_bytes(data, "little")
    return bool(entry & _ENTRY_PRESENT) or entry & (_ENTRY_SWAPPED | _ENTRY_FILE) == _ENTRY_SWAPPED


def own_pages(pagemap: int, start: int, end: int) -> list[tuple[int, int]]:
    """Address ranges within [start, end) whose pages are not (any more) those of the file.

    `pagemap`: a descriptor of /proc/PID/pagemap. Ranges are in order and do not touch each other.
    Raises OSError.
    """
    try:
        return _joined(_scan(pagemap, start, end))
    except OSError as error:
        if error.errno not in (errno.ENOTTY, errno.EINVAL):
            raise
    return _joined(_read(pagemap, start, end))


def _scan(pagemap: int, start: int, end: int) -> list[tuple[int, int]]:
    vector = ctypes.create_string_buffer(_REGION.size * _REGIONS_AT_ONCE)
    found = []
    while start < end:
        argument = bytearray(
            _SCAN.pack(
                *(_SCAN.size, 0, start, end, 0, ctypes.addressof(vector), _REGIONS_AT_ONCE, 0),
                *(_IS_FILE, _IS_FILE, _IS_PRESENT | _IS_SWAPPED, _IS_PRESENT),
            )
        )
        count = fcntl.ioctl(pagemap, _PAGEMAP_SCAN, argument)
        for index in range(count):
            first, last, _ = _REGION.unpack_from(vector, index * _REGION.size)
            found.append((first, last))
        start = _SCAN.unpack(argument)[4]
    return found


def _read(pagemap: int, start: int, end: int) -> list[tuple[int, int]]:
    found = []
    for first in range(start, end, _ENTRIES_AT_ONCE * PAGE_BYTES):
        count = min(_ENTRIES_AT_ONCE, (end - first) // PAGE_BYTES)
        data = os.pread(pagemap, 8 * count, first // PAGE_BYTES * 8)
        for index, (entry,) in enumerate(struct.iter_unpack("<Q", data)):
            if entry & (_ENTRY_PRESENT | _ENTRY_SWAPPED) and not entry & _ENTRY_FILE:
                address = first + index * PAGE_BYTES
                found.append((address, address + PAGE_BYTES))
    return found


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in ranges:
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined
