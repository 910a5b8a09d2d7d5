"""An opened container: bytes at offsets. What a leg is made of, whatever kind its container is.

`DescriptorBackEnd` serves every kind that the kernel of this host opens (images, block devices).
Every call may block for ever when storage hangs, and none retries: it is used from an expendable
process, or from a thread that can be given up.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import stat
from typing import Protocol

from holdfast.late_dataclass import dataclass
from holdfast.system.files.statfs import file_system_type
from holdfast.system.fuse.wire import (
    FALLOC_KEEP_SIZE,
    FALLOC_PUNCH_HOLE,
    FALLOC_ZERO_RANGE,
    fallocate,
)
from holdfast.system.storage.block import direct_io_unit

ZERO_STEP_BYTES = 64 << 20
"""Zeroed by one call at most: a disk without a command for it gets zeros written by the kernel."""

TRUNCATED = "the container was truncated"
"""Why an image fails that is shorter than it was, or has less than was asked for."""

_UNSUPPORTED = frozenset((errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL))
_ZEROS = memoryview(mmap.mmap(-1, 1 << 20))

_NOTHING = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)

_LOCAL_FILE_SYSTEMS = frozenset(
    (0xEF53, 0x58465342, 0x9123683E, 0x01021994, 0x858458F6, 0x2FC12FC1, 0xF2F52010)
)
"""statfs(2) f_type of ext4, xfs, btrfs, tmpfs, ramfs, zfs and f2fs: asking such a file for its size
costs no request to a server."""


class BackEnd(Protocol):
    """An opened container, and the lock that keeps other gates away. Raises OSError."""

    descriptor: int
    """A descriptor of this host that another process can take over; -1: it has none."""
    identity: int
    """Tells this container from another one of the same name, on this host since its boot."""

    def size_bytes(self) -> int:
        """Its present size."""
        ...

    def expect(self, size_bytes: int) -> None:
        """From now on it counts as truncated when it is smaller than that."""
        ...

    def check_whole(self) -> None:
        """Raise EIO when it was truncated: a write would extend it, and a read return zeros."""
        ...

    def take_requests_of(self, unit_bytes: int) -> None:
        """Accept reads and writes of that many bytes, a power of two, from aligned memory."""
        ...

    def read(self, view: memoryview, offset: int) -> None:
        """Fill the view; EIO where there are not so many bytes."""
        ...

    def write(self, view: memoryview, offset: int) -> None:
        """Store all of the view; durable after the next flush."""
        ...

    def zero(self, offset: int, length: int, *, keep_allocated: bool) -> int:
        """Make the beginning of the range read as zeros; returns how much of it.

        Written as zeros where there is no better way. Not more than what any storage that works
        does well within the hang time-out.
        """
        ...

    def flush(self) -> None:
        """Make all that was written durable, as far as the container's own word goes."""
        ...

    def next_data(self, offset: int, end: int) -> int:
        """Offset of the next byte that may not be zero; `end` when there is none before it."""
        ...

    def release(self) -> None:
        """Let go of the container and its lock, while other threads may still use this object.

        A late thread gets an error or a short read. Blocks when storage hangs; idempotent.
        """
        ...

    def close(self) -> None:
        """Let go of everything; no other thread may know this object any more. Idempotent."""
        ...


@dataclass
class DescriptorBackEnd:
    """A container that is one descriptor of this host; what each method promises: see BackEnd."""

    descriptor: int
    identity: int = 0
    has_holes: bool = False
    watch_size: bool = False
    """Whether to look after each transfer that nobody truncated it."""
    expected_bytes: int = 0
    without: frozenset[int] = frozenset()
    """Ways to zero a range that this storage does not have."""

    def size_bytes(self) -> int:
        """The size of an image or of a block device."""
        return os.lseek(self.descriptor, 0, os.SEEK_END)

    def expect(self, size_bytes: int) -> None:
        """Looked at by each flush of an image, by each transfer too where that costs nothing."""
        self.expected_bytes = size_bytes

    def check_whole(self) -> None:
        """Compare its size with the expected one."""
        if os.lseek(self.descriptor, 0, os.SEEK_END) < self.expected_bytes:
            raise OSError(errno.EIO, TRUNCATED)

    def take_requests_of(self, unit_bytes: int) -> None:
        """Go through the page cache where direct I/O takes larger requests only."""
        if direct_io_unit(self.descriptor) > unit_bytes:
            flags = fcntl.fcntl(self.descriptor, fcntl.F_GETFL)
            fcntl.fcntl(self.descriptor, fcntl.F_SETFL, flags & ~os.O_DIRECT)

    def read(self, view: memoryview, offset: int) -> None:
        """Read with one preadv."""
        done = os.preadv(self.descriptor, [view], offset)
        if done != len(view):
            raise OSError(errno.EIO, TRUNCATED)
        if self.watch_size:
            self.check_whole()

    def write(self, view: memoryview, offset: int) -> None:
        """Write with as many pwritev as it takes: a full disk fails only after a short write."""
        rest = view
        while rest:
            done = os.pwritev(self.descriptor, [rest], offset)
            if not done:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            rest, offset = rest[done:], offset + done
        if self.watch_size:
            self.check_whole()

    def zero(self, offset: int, length: int, *, keep_allocated: bool) -> int:
        """Write zeroes by fallocate, else by writing."""
        how = FALLOC_ZERO_RANGE if keep_allocated else FALLOC_PUNCH_HOLE
        done = min(length, ZERO_STEP_BYTES)
        try:
            if how in self.without:
                raise OSError(errno.EOPNOTSUPP, "it said so before")
            fallocate(self.descriptor, how | FALLOC_KEEP_SIZE, offset, done)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            self.without |= {how}
            done = min(length, len(_ZEROS))
            self.write(_ZEROS[:done], offset)
        if self.watch_size:
            self.check_whole()
        return done

    def flush(self) -> None:
        """Flush with one fdatasync."""
        number = self.descriptor  # read once: another thread may close it just now
        if number < 0:  # os.fdatasync would say ValueError: a late thread gets EBADF
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        os.fdatasync(number)
        if self.has_holes:
            self.check_whole()

    def next_data(self, offset: int, end: int) -> int:
        """Find data by SEEK_DATA."""
        try:
            return min(os.lseek(self.descriptor, offset, os.SEEK_DATA), end)
        except OSError as error:
            return end if error.errno == errno.ENXIO and self.has_holes else offset

    def release(self) -> None:
        """The descriptor is made to point to nothing: a late thread gets EBADF, EINVAL or a short
        read instead of somebody else's file."""
        number = self.descriptor
        if number >= 0:
            os.dup2(_NOTHING, number, inheritable=False)

    def close(self) -> None:
        """The number may belong to another file at once: who uses this object later gets EBADF."""
        number, self.descriptor = self.descriptor, -1
        if number >= 0:
            os.close(number)


def image_back_end(descriptor: int) -> DescriptorBackEnd:
    """An opened image file; owns the descriptor. Raises OSError."""
    is_local = file_system_type(f"/proc/self/fd/{descriptor}") in _LOCAL_FILE_SYSTEMS
    identity = identity_of(os.fstat(descriptor))
    return DescriptorBackEnd(descriptor, identity, has_holes=True, watch_size=is_local)


def disk_back_end(descriptor: int) -> DescriptorBackEnd:
    """An opened block device; owns the descriptor. Raises OSError."""
    return DescriptorBackEnd(descriptor, identity_of(os.fstat(descriptor)))


def identity_of(status: os.stat_result) -> int:
    """Device number and inode of an image; device number and the kernel's sequence number of a
    disk."""
    device_number, number = status.st_dev, status.st_ino
    if stat.S_ISBLK(status.st_mode):
        device_number = status.st_rdev
        name = f"/sys/dev/block/{os.major(device_number)}:{os.minor(device_number)}/diskseq"
        with contextlib.suppress(OSError), open(name) as file:  # Linux 5.14 and later
            number = int(file.read())
    return (device_number << 40 ^ number) & (1 << 64) - 1 or 1
