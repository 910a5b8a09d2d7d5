"""Copying one file: contents where they differ, holes as holes, then what belongs to the inode.

Invariant: a file that was written here before is compared and only what differs is written; access
times of the source are not changed. Must never follow a symbolic link.
"""

# Paths are bytes here, as the kernel has them.
# ruff: noqa: PTH101

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from holdfast.restoration.copying.inode import Properties, give, properties_of
from holdfast.restoration.copying.sharing import shared_bytes
from holdfast.restoration.copying.tree import Signature

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


def copy_contents(source: bytes, target: bytes, is_new: bool, sharing: bool = False) -> Copied:
    """Make the target's contents and properties (but the late flags) equal to the source's.

    Both are regular files. `sharing`: whether to find out what the source shares with others.
    Raises OSError; FileNotFoundError when the source has gone.
    """
    reading = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NOATIME)
    try:
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        writing = os.open(target, flags | (os.O_CREAT | os.O_EXCL if is_new else 0), 0o600)
        try:
            properties = properties_of(reading)
            lost = give(writing, properties)
            if is_new:
                _choose_compression(reading, writing)
            written_bytes = _copy_between(reading, writing, is_new)
            shared = shared_bytes(reading) if sharing else 0
            return Copied(written_bytes, shared, properties, lost)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _choose_compression(reading: int, writing: int) -> None:
    """On btrfs what is written next is compressed as the source's contents are."""
    with suppress(OSError):
        os.setxattr(writing, _COMPRESSION, os.getxattr(reading, _COMPRESSION))


def _copy_between(reading: int, writing: int, is_new: bool) -> int:
    size_bytes = os.fstat(reading).st_size
    if os.fstat(writing).st_size > size_bytes:
        os.ftruncate(writing, size_bytes)
    written = 0
    ours, theirs = bytearray(CHUNK_BYTES), bytearray(CHUNK_BYTES)
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


def copy_attributes(source: bytes, target: bytes, signature: Signature) -> list[str]:
    """Owner, mode, extended attributes (ACLs, capabilities) and, last, times; what was not kept.

    Raises OSError for owner, mode and times; an extended attribute that the target's file system
    refuses is named in the result.
    """
    lost = []
    os.chown(target, signature.user, signature.group, follow_symlinks=False)
    if signature.kind != stat.S_IFLNK:
        os.chmod(target, stat.S_IMODE(signature.mode))
    for name in _attribute_changes(source, target):
        try:
            value = os.getxattr(source, name, follow_symlinks=False)
            os.setxattr(target, name, value, follow_symlinks=False)
        except OSError as error:
            if error.errno == errno.ENODATA:
                with suppress(OSError):
                    os.removexattr(target, name, follow_symlinks=False)
            elif error.errno in (errno.ENOSPC, errno.EDQUOT) and not os.statvfs(target).f_bavail:
                raise  # it is the room that is lacking, not the type that refuses
            else:
                lost.append(f"attribute {name}: {error.strerror}")
    accessed_ns = os.lstat(source).st_atime_ns
    os.utime(target, ns=(accessed_ns, signature.modified_ns), follow_symlinks=False)
    return lost


def _attribute_changes(source: bytes, target: bytes) -> list[str]:
    """Names of the extended attributes of either side. Empty where there are none at all."""
    names: set[str] = set()
    for path in (source, target):
        try:
            names.update(os.listxattr(path, follow_symlinks=False))
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
    return sorted(names)
