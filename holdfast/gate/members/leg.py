"""One leg in use: an open container whose first bytes are the volume's data.

Owns the descriptor, and is ended by one owner: by whoever opened it until the roster takes it in,
by its retirement from then on. Every call may block for ever when storage hangs, so it is made by a
thread that has said so (see attended). Nothing is ever retried here: a failed leg is judged
elsewhere. A leg that comes back is a new Leg with a new descriptor.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

from holdfast.containers import open_container
from holdfast.errors import ContainerFailed, TooSmall
from holdfast.gate.members.configuration import LegEntry
from holdfast.gate.members.superblock import (
    SLOT_BYTES,
    Superblock,
    bitmap_bytes,
    bitmap_offset,
    container_bytes_needed,
    erase_superblocks,
    find_superblock,
    search_superblock,
    write_superblock,
)
from holdfast.gate.runtime.claims import Hand
from holdfast.model.volume import DEFAULT_SECTOR_BYTES, LegState
from holdfast.system.block import direct_io_unit
from holdfast.system.fuse import FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_ZERO_RANGE, fallocate
from holdfast.system.memory import aligned_buffer
from holdfast.system.statfs import file_system_type

ZERO_STEP_BYTES = 64 << 20
"""Zeroed by one call at most: a disk without a command for it gets zeros written by the kernel."""

NO_SPACE = frozenset((errno.ENOSPC, errno.EDQUOT))
"""Not a failure of the leg: a reason to wait for room."""

_UNSUPPORTED = frozenset((errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL))
_ZEROS = memoryview(mmap.mmap(-1, 1 << 20))

_NOTHING = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)

_LOCAL_FILE_SYSTEMS = frozenset(
    (0xEF53, 0x58465342, 0x9123683E, 0x01021994, 0x858458F6, 0x2FC12FC1, 0xF2F52010)
)
"""statfs(2) f_type of ext4, xfs, btrfs, tmpfs, ramfs, zfs and f2fs: asking such a file for its size
costs no request to a server."""


class LegDevice(Protocol):
    """What the mirror needs of a leg; a drill puts a filter with the same calls before it."""

    number: int
    id: str
    url: str
    state: LegState
    descriptor: int
    size_bytes: int
    container_bytes: int
    identity: int
    taken: bool

    def read(self, view: memoryview, offset: int) -> None: ...
    def write(self, view: memoryview, offset: int) -> None: ...
    def zero(self, offset: int, length: int, *, keep_allocated: bool) -> int: ...
    def flush(self) -> None: ...
    def next_data(self, offset: int) -> int: ...
    def write_bitmap(self, page: memoryview, page_number: int) -> None: ...
    def read_bitmap(self) -> bytes: ...
    def write_superblock(self, superblock: Superblock) -> None: ...
    def erase(self) -> None: ...
    def resize(self, size_bytes: int) -> None: ...
    def clear_old_tail(self, container_bytes: int, size_bytes: int) -> None: ...
    def close(self) -> None: ...
    def forget(self) -> None: ...
    def discard(self) -> None: ...


@dataclass
class Leg:
    """An open container. Raises OSError as the kernel gave it; EIO for a short transfer."""

    number: int
    id: str
    url: str
    state: LegState
    descriptor: int
    size_bytes: int
    """The volume's size for which its tail was laid out, at the end of `container_bytes`."""
    container_bytes: int
    sequence: int
    watch_size: bool
    has_holes: bool
    identity: int
    """Tells this container from another one of the same name, on this host since its boot."""
    taken: bool = False
    """The roster took it in, which ends it from then on: other threads may know it."""
    without: frozenset[int] = frozenset()
    """Ways to zero a range that this storage does not have."""
    _slot: mmap.mmap = field(
        default_factory=lambda: aligned_buffer(SLOT_BYTES), repr=False, compare=False
    )
    """From which superblocks are written."""

    def _check_whole(self) -> None:
        """A truncated image would be extended again by the next write, and read as zeros."""
        if os.lseek(self.descriptor, 0, os.SEEK_END) < self.container_bytes:
            raise OSError(errno.EIO, "the container was truncated")

    def read(self, view: memoryview, offset: int) -> None:
        """Fill the view from the leg."""
        if os.preadv(self.descriptor, [view], offset) != len(view):
            raise OSError(errno.EIO, "short read: the container was truncated")
        if self.watch_size:
            self._check_whole()

    def write(self, view: memoryview, offset: int) -> None:
        """Store the view on the leg; durable after the next flush."""
        rest = view
        while rest:  # a short write says only afterwards why: a disk that is full is no lost leg
            done = os.pwritev(self.descriptor, [rest], offset)
            if not done:
                raise OSError(errno.EIO, "short write")
            rest, offset = rest[done:], offset + done
        if self.watch_size:
            self._check_whole()

    def zero(self, offset: int, length: int, *, keep_allocated: bool) -> int:
        """Make the beginning of the range read as zeros; how much of it (see `zero_all`).

        Written as zeros where the container has no better way. Not more than what any storage that
        works does well within the hang time-out.
        """
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
            self._check_whole()
        return done

    def flush(self) -> None:
        """Make all that was written durable, as far as the container's own word goes."""
        os.fdatasync(self.descriptor)
        if self.has_holes:
            self._check_whole()

    def next_data(self, offset: int) -> int:
        """Offset of the next byte that may not be zero, `size_bytes` when there is none."""
        try:
            return min(os.lseek(self.descriptor, offset, os.SEEK_DATA), self.size_bytes)
        except OSError as error:
            return self.size_bytes if error.errno == errno.ENXIO and self.has_holes else offset

    def write_bitmap(self, page: memoryview, page_number: int) -> None:
        """Replace one page of the write-intent bitmap; durable after the next flush."""
        self.write(page, bitmap_offset(self.container_bytes, self.size_bytes) + page_number * 4096)

    def read_bitmap(self) -> bytes:
        """The write-intent bitmap as it is on the leg."""
        length = bitmap_bytes(self.size_bytes)
        view = memoryview(aligned_buffer(length))
        self.read(view, bitmap_offset(self.container_bytes, self.size_bytes))
        return bytes(view)

    def write_superblock(self, superblock: Superblock) -> None:
        """Replace the older of the two superblock slots; durable when it returns."""
        if self.has_holes:
            self._check_whole()
        self.sequence += 1
        write_superblock(
            self.descriptor,
            self.container_bytes,
            replace(
                superblock,
                leg_id=self.id,
                leg_number=self.number,
                state=self.state,
                sequence=self.sequence,
            ),
            self._slot,
        )

    def erase(self) -> None:
        """Remove the superblocks: the container is no leg any more. Durable when it returns."""
        erase_superblocks(self.descriptor, self.container_bytes)

    def resize(self, size_bytes: int) -> None:
        """Move to the end of a container that was grown before; the caller writes the new tail.

        The old tail is zeroed by `clear_old_tail` once the new one is durable.
        """
        container_bytes = os.lseek(self.descriptor, 0, os.SEEK_END)
        if container_bytes < container_bytes_needed(size_bytes):
            raise TooSmall(f"{self.url} was not grown", "Grow the container first.")
        self.size_bytes, self.container_bytes = size_bytes, container_bytes

    def clear_old_tail(self, container_bytes: int, size_bytes: int) -> None:
        """Zero the tail of the time before a growth, which lies inside the data area now.

        Does nothing where the container did not move its end (a block device of the same size).
        Durable when it returns; idempotent.
        """
        start = bitmap_offset(container_bytes, size_bytes)
        if container_bytes < self.container_bytes:
            end = container_bytes // 4096 * 4096
            while start < end:
                start += self.zero(start, end - start, keep_allocated=False)
            self.flush()

    def close(self) -> None:
        """Let go of the container and its lock, while other threads may still use this object.

        The descriptor is made to point to nothing, so that a late thread gets EBADF, EINVAL or a
        short read instead of somebody else's file. Blocks when storage hangs; idempotent.
        """
        if self.descriptor >= 0:
            os.dup2(_NOTHING, self.descriptor, inheritable=False)

    def forget(self) -> None:
        """Give the descriptor's number back; no thread may know this object any more. Idempotent.

        The number may belong to another file at once: who uses this object later gets EBADF.
        """
        number, self.descriptor = self.descriptor, -1
        if number >= 0:
            os.close(number)

    def discard(self) -> None:
        """Close a leg whose only owner is the caller; one that was taken in is left to the roster.

        Blocks when storage hangs; idempotent.
        """
        if not self.taken:
            self.close()
            self.forget()


def zero_all(hand: Hand, leg: LegDevice, offset: int, length: int, *, keep_allocated: bool) -> None:
    """Make the range read as zeros, by a hand that is inside the leg.

    Each step is an entry of its own: storage that answers each of them does not hang, however long
    all of them take. Raises OSError, GivenUp.
    """
    done = leg.zero(offset, length, keep_allocated=keep_allocated)
    while done < length:
        hand.leave()
        hand.enter(leg.number)
        done += leg.zero(offset + done, length - done, keep_allocated=keep_allocated)


def identity_of(status: os.stat_result) -> int:
    """Device and inode of an image; device and the kernel's sequence number of a disk."""
    device, number = status.st_dev, status.st_ino
    if stat.S_ISBLK(status.st_mode):
        device = status.st_rdev
        name = f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/diskseq"
        with contextlib.suppress(OSError), open(name) as file:  # Linux 5.14 and later
            number = int(file.read())
    return (device << 40 ^ number) & (1 << 64) - 1 or 1


def _is_local(descriptor: int) -> bool:
    """Whether the container's size is known without asking anyone else."""
    return file_system_type(f"/proc/self/fd/{descriptor}") in _LOCAL_FILE_SYSTEMS


def open_leg(
    entry: LegEntry,
    size_bytes: int,
    *,
    whole: bool = True,
    inherited: int | None = None,
    sector_bytes: int = DEFAULT_SECTOR_BYTES,
    places: Iterable[int] = (),
    search_seconds: float = 0.0,
) -> tuple[Leg, Superblock | None]:
    """Open a leg's container and read its superblock. Blocks as long as storage does.

    Its tail is looked for at the container's end, where it was remembered (the entry, `places`),
    and where a container of just the size that is needed has it; then, for so many seconds,
    everywhere.

    `inherited`: a descriptor of it, with its lock, that an earlier worker had; owned from now on.
    `sector_bytes`: the smallest request that the volume makes; where the storage's direct I/O takes
    larger ones only, it goes through the page cache.
    Raises ContainerFailed when it cannot be opened or, with `whole`, is too small for the volume;
    BlockingIOError (an OSError) when another gate, or an earlier worker, still has it.
    """
    container = open_container(entry.url)
    try:
        descriptor = container.open() if inherited is None else inherited
    except BlockingIOError:
        raise
    except OSError as error:
        raise ContainerFailed(
            f"{entry.url} cannot be opened: {error.strerror}",
            "See that the storage is there.",
        ) from error
    try:
        if direct_io_unit(descriptor) > sector_bytes:
            flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
            fcntl.fcntl(descriptor, fcntl.F_SETFL, flags & ~os.O_DIRECT)
        container_bytes = container.size_bytes(descriptor)
        needed = container_bytes_needed(size_bytes)
        too_small = whole and container_bytes < needed
        # Enlarged by somebody, or a growth was cut short: the tail is still where it was.
        remembered = (entry.container_bytes, *places, needed if size_bytes else 0)
        known = [place for place in remembered if 0 < place <= container_bytes]
        found = find_superblock(descriptor, [container_bytes, *known], entry.id)
        if found is None and search_seconds:
            found = search_superblock(descriptor, container_bytes, search_seconds)
        place = entry.container_bytes if entry.container_bytes in known else container_bytes
        superblock, tail_end = found or (None, place)
        if superblock and container_bytes_needed(superblock.size_bytes) > tail_end:
            raise ContainerFailed(
                f"{entry.url} says that it is a leg of {superblock.size_bytes} bytes, and has not"
                " that many",
                "Use another container.",
            )
        if too_small:
            raise ContainerFailed(
                f"{entry.url} has {container_bytes} bytes instead of {needed}: it was truncated",
                "Put the whole container back, or an empty one in its place.",
            )
    except OSError as error:
        os.close(descriptor)
        raise ContainerFailed(f"{entry.url} cannot be read: {error.strerror}") from error
    except BaseException:
        os.close(descriptor)
        raise
    leg = Leg(
        number=entry.number,
        id=entry.id,
        url=entry.url,
        state=entry.state,
        descriptor=descriptor,
        size_bytes=superblock.size_bytes if superblock else size_bytes,
        container_bytes=tail_end,
        sequence=superblock.sequence if superblock else 0,
        watch_size=bool(container.image_path) and _is_local(descriptor),
        has_holes=container.traits.has_holes,
        identity=identity_of(os.fstat(descriptor)),
    )
    return leg, superblock
