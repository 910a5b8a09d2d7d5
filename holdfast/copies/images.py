"""Images of copies and clones: made, opened, removed; and filled from others.

Functions here touch storage: for expendable children. Invariant: an image is opened and removed
only while it is the file that was made, and as it was left; others' are never written.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from holdfast.containers import BackEnd, DescriptorBackEnd, open_container
from holdfast.containers.back_end import disk_back_end, image_back_end
from holdfast.containers.trust import open_believed
from holdfast.copies.work import Pace, Tell
from holdfast.errors import (
    ContainerFailed,
    HoldsData,
    InUse,
    NoSuchContainer,
    TooSmall,
    Untrusted,
)
from holdfast.gate.members.superblock import Superblock, read_superblock
from holdfast.model.copy import VIEW_NAME, VolumeCopy
from holdfast.model.size import format_size
from holdfast.system.files.cloning import share_blocks
from holdfast.system.files.durable import sync_directory
from holdfast.system.mounts.mount_table import mount_holding, unmount
from holdfast.system.storage.block import mounted_at
from holdfast.system.storage.loop_backing import devices_showing

_CHUNK_BYTES = 1 << 20
_PIECE_BYTES = 64 << 10
"""Zeros of that length are left out."""
_ZEROS = bytes(_PIECE_BYTES)
_SHARING = frozenset({"xfs", "btrfs", "bcachefs", "ocfs2", "nfs4", "cifs", "overlay", "zfs"})
"""Types on which files may share blocks; whether they do is only known when it is tried."""
SYNC_BYTES = 64 << 20
"""What is written at most before it is made durable: nobody else's flush waits for more."""


def make_image(url: str, size_bytes: int) -> int:
    """A sparse image where nothing is, durable; its inode.

    Raises HoldsData when something is there, NoSuchContainer, Untrusted, ContainerFailed.
    """
    container = open_container(url)
    if not container.create(size_bytes):
        raise HoldsData(f"{url} is there already", "Name an image that is not there yet.")
    return Path(container.image_path).lstat().st_ino


def open_image(copy: VolumeCopy, flags: int = os.O_RDWR) -> DescriptorBackEnd:
    """The image as it was left, locked: who only reads it keeps others from writing to it alone.

    Raises NoSuchContainer, Untrusted, InUse, OSError.
    """
    path = Path(open_container(copy.url).image_path)
    try:
        descriptor = open_believed(path, flags)
    except FileNotFoundError as error:
        raise NoSuchContainer(f"{path} is not there", "Mount its disk, or forget it.") from error
    try:
        try:
            lock = fcntl.LOCK_SH if flags & os.O_ACCMODE == os.O_RDONLY else fcntl.LOCK_EX
            fcntl.flock(descriptor, lock | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InUse(f"{path} is in use by another process", "Wait until it ends.") from error
        image = image_back_end(descriptor)
        check_as_left(image, copy)
        return image
    except BaseException:
        os.close(descriptor)
        raise


def check_image(copy: VolumeCopy) -> None:
    """Raise what `open_image` does."""
    open_image(copy).close()


def check_as_left(image: DescriptorBackEnd, copy: VolumeCopy) -> None:
    """Raise Untrusted where it is another file, or anybody else wrote to it. Raises OSError."""
    fault = _fault(copy, os.fstat(image.descriptor))
    if fault:
        raise Untrusted(
            f"{copy.url}: {fault}", "Put back what was there, or remove it and make another one."
        )


def fault_of(copy: VolumeCopy) -> str:
    """Why the image is not what was left there, in words; empty: it is. Raises OSError."""
    try:
        return _fault(copy, Path(open_container(copy.url).image_path).lstat())
    except FileNotFoundError:
        return GONE


GONE = "its image is not there"
EXCHANGED = "another file is there"


def _fault(copy: VolumeCopy, status: os.stat_result) -> str:
    if status.st_ino != copy.inode:
        return EXCHANGED
    if status.st_size < copy.size_bytes:
        return "it was truncated"
    if copy.written_ns and status.st_mtime_ns != copy.written_ns:
        return "somebody else wrote to it (mounted it, or copied over it): it is no moment any more"
    return ""


def seal(image: DescriptorBackEnd) -> int:
    """Make all of it durable, with a time of change by which it is seen whether anybody wrote to it
    since; that time (ns). Raises OSError."""
    with suppress(PermissionError):  # then it is the time of the last write
        # Servers give what was written a time later than they say, but keep one that they are told.
        os.utime(image.descriptor, ns=(time.time_ns(),) * 2)
    os.fsync(image.descriptor)
    image.check_whole()
    return max(0, os.fstat(image.descriptor).st_mtime_ns)


def dismount(clone: VolumeCopy) -> None:
    """Dismount the image that was made so, wherever it is mounted here, and remove the directory
    that was made for it. Idempotent.

    Nobody was promised anything of it: whoever is in there already keeps what he sees, and nobody
    waiting. Raises CommandFailed, OSError.
    """
    if fault_of(clone) not in (GONE, EXCHANGED):
        for loop in devices_showing(Path(open_container(clone.url).image_path)):
            while (path := mounted_at(loop.device)) is not None:
                try:
                    unmount(path)
                except InUse:
                    unmount(path, lazy=True)
    if clone.made_directory:
        with suppress(OSError):
            Path(clone.made_directory).rmdir()


def remove_image(copy: VolumeCopy) -> bool:
    """Remove the image that was made so; durable. False: it is gone, or it is somebody else's now,
    who may have been given the same inode."""
    path = Path(open_container(copy.url).image_path)
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    # One whose inode was not noted yet has nothing in it.
    is_new = not copy.inode and not status.st_blocks
    fault = _fault(copy, status)
    if path.name.startswith(VIEW_NAME) and fault != EXCHANGED:
        fault = ""  # its name is told to nobody: that it was damaged makes it nobody else's
    if fault and not is_new:
        return False
    path.unlink()
    sync_directory(path.parent)
    return True


def check_room(url: str, needed_bytes: int) -> None:
    """Raise TooSmall where so much does not fit. Raises OSError."""
    room = open_container(url).room()
    if room is not None and room.free_bytes < needed_bytes:
        raise TooSmall(
            f"{format_size(room.free_bytes)} are free for {url}, and it takes"
            f" {format_size(needed_bytes)}",
            "Make room there, or use larger storage.",
        )


def check_room_beside(copy: VolumeCopy) -> None:
    """Raise TooSmall where another image with what a copy has does not fit beside it, unless its
    file system may share blocks. Raises OSError."""
    mount = mount_holding(open_container(copy.url).image_path)
    if mount is None or mount.filesystem not in _SHARING:
        check_room(copy.url, allocated_bytes(copy.url))


def allocated_bytes(url: str) -> int:
    """What a container has in it, at most. Raises OSError."""
    container = open_container(url)
    status = Path(container.image_path or container.device_path).stat()
    if container.image_path:
        return status.st_blocks * 512
    with open(container.device_path, "rb") as device:
        return device.seek(0, os.SEEK_END)


Source = tuple[DescriptorBackEnd, Superblock]
"""A leg, and what it said of itself when it was opened."""


def open_leg(url: str, volume_id: str, leg_id: str) -> Source | None:
    """A leg in use, to be read beside its gate; None: something else is there. Raises OSError,
    Untrusted."""
    container = open_container(url)
    try:
        back_end = _opened(container.image_path, container.device_path, os.O_DIRECT)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
        back_end = _opened(container.image_path, container.device_path, 0)
    try:
        found = read_superblock(back_end, back_end.size_bytes())
    except BaseException:
        back_end.close()
        raise
    if found is None or (found.volume_id, found.leg_id) != (volume_id, leg_id):
        back_end.close()
        return None
    return back_end, found


def check_still(source: Source) -> None:
    """Raise ContainerFailed where a leg was truncated, or left its volume, while it was read: what
    was read may be zeros. Whether it was in sync all the time the gate's epoch says, and not that
    of the leg, which may hear of it later. Raises OSError."""
    leg, before = source
    now = read_superblock(leg, leg.size_bytes())
    if now is None or now.leg_id != before.leg_id:
        raise ContainerFailed(
            "a leg was truncated, or taken out, while it was read",
            "See holdfast volume show, then try again.",
        )


def _opened(image_path: str, device_path: str, more_flags: int) -> DescriptorBackEnd:
    flags = os.O_RDONLY | more_flags
    if image_path:
        return image_back_end(open_believed(Path(image_path), flags, in_use=True, keep_mode=True))
    return disk_back_end(os.open(device_path, flags | os.O_CLOEXEC))


def fill(
    sources: Sequence[DescriptorBackEnd], target: DescriptorBackEnd, size_bytes: int, tell: Tell
) -> None:
    """Copy what is no hole into a new image, from the first source that can read it; durable.

    Raises ContainerFailed, TooSmall on a full disk.
    """
    buffer = memoryview(mmap.mmap(-1, _CHUNK_BYTES))
    pace, offset, unsynced = Pace(tell, size_bytes), 0, 0
    try:
        while (offset := sources[0].next_data(offset, size_bytes)) < size_bytes:
            offset -= offset % mmap.PAGESIZE
            part = buffer[: min(_CHUNK_BYTES, size_bytes - offset)]
            _read(sources, part, offset)
            unsynced += _write_sparse(target, part, offset)
            offset += len(part)
            if unsynced >= SYNC_BYTES:
                settle(target)
                unsynced = 0
            pace.done(offset)
        settle(target)
    except OSError as error:
        raise failed(error) from error


def duplicate(source: DescriptorBackEnd, half: VolumeCopy, tell: Tell) -> None:
    """Give a new image the contents of another one, sharing blocks where that can be; durable.

    Raises as `fill`, and TooSmall before anything is written.
    """
    target = open_image(half)
    try:
        if share_blocks(source.descriptor, target.descriptor):
            target.flush()
            return
        check_room(half.url, os.fstat(source.descriptor).st_blocks * 512)
        fill([source], target, source.size_bytes(), tell)
    finally:
        target.close()


def read_all(image: DescriptorBackEnd, tell: Tell) -> None:
    """Read every byte that is no hole. Raises OSError."""
    buffer, size_bytes = memoryview(mmap.mmap(-1, _CHUNK_BYTES)), image.size_bytes()
    pace, offset = Pace(tell, size_bytes), 0
    while (offset := image.next_data(offset, size_bytes)) < size_bytes:
        part = buffer[: min(_CHUNK_BYTES, size_bytes - offset)]
        image.read(part, offset)
        offset += len(part)
        pace.done(offset)


def settle(target: BackEnd) -> None:
    """Make what was written durable, and leave the page cache to others. Raises OSError."""
    target.flush()
    if target.descriptor >= 0:
        os.posix_fadvise(target.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def failed(error: OSError) -> ContainerFailed | TooSmall:
    """The error with a mend."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return TooSmall("there is no room left for the image", "Make room there.")
    return ContainerFailed(f"{error}", "See the kernel's log, and look at that storage.")


def _read(sources: Sequence[DescriptorBackEnd], part: memoryview, offset: int) -> None:
    for source in sources[:-1]:
        try:
            source.read(part, offset)
            return
        except OSError:
            continue  # a bad place there: the next one has it, too
    sources[-1].read(part, offset)


def _write_sparse(target: DescriptorBackEnd, part: memoryview, offset: int) -> int:
    """Write what is not zero; how many bytes."""
    written = begin = 0
    for place in range(0, len(part) + 1, _PIECE_BYTES):
        piece = bytes(part[place : place + _PIECE_BYTES])
        if piece and piece != _ZEROS[: len(piece)]:
            continue
        if begin < place:
            target.write(part[begin:place], offset + begin)
            written += place - begin
        begin = place + _PIECE_BYTES
    if begin < len(part):
        target.write(part[begin:], offset + begin)
        written += len(part) - begin
    return written
