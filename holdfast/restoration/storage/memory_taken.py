"""What is only in memory of files on storage that has failed, taken into files of ours: `save`.

It runs in an expendable child while everybody stands, before the old storage is dismounted. Takes
what the page cache has, clean or not; asks the storage as little as it can. Must never follow a
name by itself.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

from holdfast.applications.rebind.parking.kept_contents import is_enough_for
from holdfast.late_dataclass import dataclass
from holdfast.model.bounded import MOST_CHARACTERS
from holdfast.model.handle import Handle, HandleKind, LockKind, User
from holdfast.restoration.storage.saved_writes import (
    SavedFile,
    digest_of,
    is_for_writing,
    key_of,
    packed,
)
from holdfast.system.files.durable import sync_directory, write_whole
from holdfast.system.files.page_cache import copy_from_memory
from holdfast.system.files.unasked_size import size_of_held
from holdfast.system.proc import read_record
from holdfast.system.proc_text import number_of
from holdfast.system.processes.process import copy_descriptor

MOST_FILES = 1000
"""What is written down of them is rewritten with every step."""
_MOST_NAMES = 1 << 20
"""Characters of all their paths together, for the same reason."""
MOST_SAVED_BYTES = 1 << 30
"""Five seconds at 200 MiB/s, in which everybody stands."""


def writable(users: Sequence[User]) -> tuple[list[list[Handle]], int]:
    """The handles of each file that these have open for writing; how many files are too many.

    One of each user in turns: who has very many leaves room for the others.
    """
    found: dict[tuple[int, int, str], list[Handle]] = {}
    for turn in zip_longest(*(filter(is_for_writing, user.handles) for user in users)):
        for handle in filter(None, turn):
            found.setdefault(key_of(handle), []).append(handle)
    kept: list[list[Handle]] = []
    characters = 0
    for mine in found.values():
        longest = max(len(mine[0].path), len(mine[0].inside))
        if len(kept) == MOST_FILES or longest > MOST_CHARACTERS:
            continue
        characters += 2 * longest
        if characters <= _MOST_NAMES:
            kept.append(mine)
    return kept, len(found) - len(kept)


def save(
    files: Sequence[Sequence[Handle]],
    directory: Path,
    opened: Callable[[], float],
    limit_bytes: int = MOST_SAVED_BYTES,
) -> list[SavedFile]:
    """Take what is in memory of each file into one of this empty directory; durable on return.

    All are opened first, and their sizes known; then `opened` is called, which may wait until there
    is something to save, and says how many seconds that may take. Small ones first. What takes
    longer, more than `limit_bytes` or more room than there is, is left out, and its outcome says
    so. Raises OSError for nothing of the old storage.
    """
    every = sorted((_opened(mine) for mine in files), key=lambda each: each[1].size_bytes)
    deadline = time.monotonic() + opened()
    left_bytes = limit_bytes
    found = []
    for number, (reading, file) in enumerate(every):
        if reading is None:
            found.append(file)
            continue
        allowance = _Allowance(directory, deadline, left_bytes)
        try:
            saved = _saved(reading, file, directory / f"{number}", allowance)
        finally:
            os.close(reading)
        left_bytes -= saved.saved_bytes
        found.append(saved)
    sync_directory(directory)
    return found


class _NoRoom(Exception):
    """Why no more of a file can be taken."""


@dataclass
class _Allowance:
    """How much may still be taken, and until when."""

    directory: Path
    deadline: float
    left_bytes: int

    def take(self, count: int) -> None:
        """Raises _NoRoom."""
        if time.monotonic() > self.deadline:
            raise _NoRoom("there was no time to save what was in memory of it")
        if count > self.left_bytes:
            raise _NoRoom("more of it was in memory than is saved at once")
        if count and not is_enough_for(str(self.directory), count):
            raise _NoRoom("the disk of Holdfast's state had no room for what was in memory of it")
        self.left_bytes -= count


def _opened(handles: Sequence[Handle]) -> tuple[int | None, SavedFile]:
    """A descriptor for reading, and what the file is; None, and why not."""
    first = handles[0]
    file = SavedFile(first.path, first.mount_id, first.inode, first.inside)
    reading = None
    try:
        reading = _reading(handles)
        try:
            status = os.fstat(reading)
        except OSError:
            return reading, _undated(file, reading)
        why = _not_to_be_saved(status, first)
        if not why:
            return reading, replace(file, size_bytes=status.st_size, modified_ns=status.st_mtime_ns)
    except OSError as error:
        why = f"what was in memory of it could not be read: {error.strerror}"
    if reading is not None:
        os.close(reading)
    return None, replace(file, outcome=why)


def _undated(file: SavedFile, reading: int) -> SavedFile:
    """Of a file system that has shut itself down: the size, from elsewhere. Raises OSError."""
    if number_of(read_record(f"/proc/self/fdinfo/{reading}"), b"ino") != file.inode:
        raise OSError(errno.EBADF, "it was another file by then")
    return replace(file, size_bytes=size_of_held(reading), is_undated=True)


def _not_to_be_saved(status: os.stat_result, handle: Handle) -> str:
    if not stat.S_ISREG(status.st_mode) or status.st_ino != handle.inode:
        return "it was another file by then"
    return "" if status.st_nlink else "it had no name any more"


def _reading(handles: Sequence[Handle]) -> int:
    """Another description, for reading alone: ext4 that turned read-only lets nothing be mapped
    that is open for writing. Where that is refused, and where somebody has a lease, whose holder
    would be asked: a user's own descriptor."""
    is_leased = any(lock.kind is LockKind.LEASE for handle in handles for lock in handle.locks)
    if not is_leased:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOATIME | os.O_CLOEXEC
        with suppress(OSError):
            return os.open(_link(handles[0]), flags)
    for handle in handles:
        if handle.kind is HandleKind.FILE and "r" in handle.mode and handle.number is not None:
            return copy_descriptor(handle.thread_id or handle.pid, handle.number)
    raise OSError(errno.EIO, "somebody has a lease of it" if is_leased else os.strerror(errno.EIO))


def _link(handle: Handle) -> str:
    if handle.kind is HandleKind.MAP:
        return f"/proc/{handle.pid}/map_files/{handle.start:x}-{handle.end:x}"
    return f"/proc/{handle.thread_id or handle.pid}/fd/{handle.number}"


def _saved(reading: int, file: SavedFile, place: Path, allowance: _Allowance) -> SavedFile:
    writing = os.open(place, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        ranges = copy_from_memory(reading, file.size_bytes, writing, allowance.take)
        write_whole(writing, packed(ranges), sum(length for _, length in ranges))
        os.fsync(writing)
    except (OSError, _NoRoom) as error:
        place.unlink()
        why = error.strerror if isinstance(error, OSError) else str(error)
        return replace(file, outcome=why or str(error))
    finally:
        os.close(writing)
    saved_bytes = sum(length for _, length in ranges)
    return replace(file, saved_bytes=saved_bytes, name=place.name, digest=digest_of(place))
