"""What was only in memory of files on storage that failed: taken into files of ours, and put back.

    save      while everybody stands, before the old storage is dismounted
    judge     which of it may be put back on the storage that comes, before anything is written
    put_back  writes it, with the size and the time of modification that its users knew

All three run in expendable children. Which file it is, rebind says (`opening.finding`): what is
put back goes where somebody who had it open for writing may write now. Invariant: `judge` changes
nothing; `put_back` may be repeated as long as nobody else can have written. Must never follow a
name by itself.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

from holdfast.applications.rebind.opening.reopening import Reopening
from holdfast.applications.rebind.opening.requests import OpenRequest
from holdfast.applications.rebind.parking.kept_contents import is_enough_for
from holdfast.applications.rebind.parking.relocation import Relocation
from holdfast.model.bounded import MOST_CHARACTERS, Signed, Word
from holdfast.model.handle import Handle, HandleKind, LockKind, User
from holdfast.model.mountpoint import MountPoint
from holdfast.mountpoints.private_mount import mount_privately
from holdfast.mountpoints.scratch import scratch_directory
from holdfast.system.files.beneath import open_beneath
from holdfast.system.files.durable import sync_directory, write_whole
from holdfast.system.files.page_cache import Range, copy_from_memory
from holdfast.system.mounts.visitor import Visitor
from holdfast.system.processes.process import copy_descriptor

MOST_FILES = 1000
"""What is written down of them is rewritten with every step."""
_MOST_NAMES = 1 << 20
"""Characters of all their paths together, for the same reason."""
MOST_SAVED_BYTES = 1 << 30
"""Five seconds at 200 MiB/s, in which everybody stands."""

_RANGE = struct.Struct("<QQ")
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class SavedFile:
    """A file that somebody had open for writing, and what became of what was in memory of it."""

    path: str
    """For people."""
    mount_id: Word
    inode: Word
    inside: str
    """These three tell its handles from others: see Handle."""
    size_bytes: Word = 0
    modified_ns: Signed = 0
    saved_bytes: Word = 0
    name: str = ""
    """Of what was saved, in the directory; empty: nothing was."""
    digest: str = ""
    outcome: str = ""
    """Why it could not be saved or put back, or that it was; empty: it is still to be put back."""


@dataclass(frozen=True)
class SavedWrites:
    """All of them."""

    files: tuple[SavedFile, ...]
    left_out: Word = 0
    """How many files more than can be written down."""
    judged_for: str = ""
    """`new` or `old`: the storage for which the outcomes say what may be put back."""
    put_back_on: str = ""
    """The same, when they say what became of that."""


@dataclass(frozen=True)
class Target:
    """The storage that comes, which is mounted nowhere."""

    source: str
    filesystem: str
    options: str
    points: tuple[MountPoint, ...]
    relocation: Relocation
    record_directory: Path
    """Of what is parked."""


Requests = Mapping[tuple[int, int, str], Sequence[OpenRequest]]
"""By `key_of`: how those had a file open who may write."""

PUT_BACK = "put back"


def key_of(found: Handle | SavedFile) -> tuple[int, int, str]:
    """What tells a file from others on the old storage."""
    return found.mount_id, found.inode, found.inside


# --- saving -------------------------------------------------------------------------------------


def writable(users: Sequence[User]) -> tuple[list[list[Handle]], int]:
    """The handles of each file that these have open for writing; how many files are too many.

    One of each user in turns: who has very many leaves room for the others.
    """
    found: dict[tuple[int, int, str], list[Handle]] = {}
    for turn in zip_longest(*(filter(_is_for_writing, user.handles) for user in users)):
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


def _is_for_writing(handle: Handle) -> bool:
    if handle.kind is HandleKind.MAP:
        return "w" in handle.mode and "s" in handle.mode
    return handle.kind is HandleKind.FILE and "w" in handle.mode


def save(
    files: Sequence[Sequence[Handle]],
    directory: Path,
    seconds: float,
    limit_bytes: int = MOST_SAVED_BYTES,
) -> list[SavedFile]:
    """Take what is in memory of each file into one of this empty directory; durable on return.

    Small ones first. What takes longer than `seconds`, more than `limit_bytes` or more room than
    there is, is left out, and its outcome says so. Raises OSError for nothing of the old storage.
    """
    deadline = time.monotonic() + seconds
    left_bytes = limit_bytes
    opened = sorted((_opened(mine) for mine in files), key=lambda each: each[1].size_bytes)
    found = []
    for number, (reading, file) in enumerate(opened):
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
        status = os.fstat(reading)
        why = _not_to_be_saved(status, first)
        if not why:
            return reading, replace(file, size_bytes=status.st_size, modified_ns=status.st_mtime_ns)
    except OSError as error:
        why = f"what was in memory of it could not be read: {error.strerror}"
    if reading is not None:
        os.close(reading)
    return None, replace(file, outcome=why)


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
        write_whole(writing, _packed(ranges), sum(length for _, length in ranges))
        os.fsync(writing)
    except (OSError, _NoRoom) as error:
        place.unlink()
        why = error.strerror if isinstance(error, OSError) else str(error)
        return replace(file, outcome=why or str(error))
    finally:
        os.close(writing)
    saved_bytes = sum(length for _, length in ranges)
    return replace(file, saved_bytes=saved_bytes, name=place.name, digest=_digest(place))


def _packed(ranges: Sequence[Range]) -> bytes:
    return b"".join(_RANGE.pack(*each) for each in ranges)


def _digest(place: Path) -> str:
    with place.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


# --- putting back -------------------------------------------------------------------------------


def judge(files: Sequence[SavedFile], requests: Requests, target: Target) -> list[str]:
    """Why each of them cannot be put back; empty: it can. Raises HoldfastError where the storage
    cannot be mounted."""
    words = []
    with _there(target) as reopening:
        taken: set[tuple[int, int]] = set()
        for file in files:
            with _for_writing(file, requests, reopening) as (writing, why):
                words.append(why or _refusal(file, writing, taken))
    return words


def _refusal(file: SavedFile, writing: int, taken: set[tuple[int, int]]) -> str:
    status = os.fstat(writing)
    inode = status.st_dev, status.st_ino
    if not stat.S_ISREG(status.st_mode) or inode in taken:
        return "it is not a file of its own there"
    if status.st_mtime_ns > file.modified_ns:
        return "the file there was changed later"
    taken.add(inode)
    return ""


def put_back(
    files: Sequence[SavedFile], requests: Requests, target: Target, directory: Path
) -> list[str]:
    """Write each where it belongs, durably; what became of it. Only what `judge` let pass. Raises
    HoldfastError where the storage cannot be mounted."""
    words = []
    with _there(target) as reopening:
        for file in files:
            with _for_writing(file, requests, reopening) as (writing, why):
                try:
                    words.append(why or _write(file, writing, directory / file.name))
                except OSError as error:
                    words.append(f"it could not be put back whole: {error.strerror}")
    return words


def _write(file: SavedFile, writing: int, place: Path) -> str:
    if _digest(place) != file.digest:
        return "what had been saved of it is damaged"
    space = os.fstatvfs(writing)
    if space.f_bfree * space.f_frsize < file.saved_bytes:
        return "the storage there has no room for it"
    before = os.fstat(writing)
    told = _without_set_id(writing, before.st_mode)
    os.ftruncate(writing, file.size_bytes)
    with place.open("rb") as saved:
        for offset, length in _ranges(place, file.saved_bytes):
            for at in range(offset, offset + length, _CHUNK_BYTES):
                part = saved.read(min(_CHUNK_BYTES, offset + length - at))
                write_whole(writing, part, at)
    os.utime(writing, ns=(before.st_atime_ns, file.modified_ns))
    os.fsync(writing)
    missing_bytes = file.size_bytes - file.saved_bytes
    if missing_bytes:
        told += f"; {missing_bytes} of its {file.size_bytes} bytes were not in memory"
    return PUT_BACK + told


def _without_set_id(writing: int, mode: int) -> str:
    """Take the bits away that a write by anybody but root takes away (root wrote
    for him): what he wrote is not to run as somebody else. What was done, in words."""
    kept = mode & ~stat.S_ISUID
    if mode & stat.S_IXGRP:  # without it, it is a sign for mandatory locks
        kept &= ~stat.S_ISGID
    if kept == mode:
        return ""
    os.fchmod(writing, stat.S_IMODE(kept))
    return ", without its set-id bits"


def _ranges(place: Path, saved_bytes: int) -> list[Range]:
    with place.open("rb") as file:
        file.seek(saved_bytes)
        return [(start, length) for start, length in _RANGE.iter_unpack(file.read())]


@contextmanager
def _there(target: Target) -> Iterator[Reopening]:
    """The storage, mounted where only this child sees it."""
    visitor = Visitor()
    base = mount_privately(visitor, target.source, target.filesystem, target.options)
    bases = {}
    for point in target.points:
        try:
            bases[point.id] = open_beneath(base, point.inside, os.O_PATH | os.O_NOFOLLOW)
        except OSError:  # what it showed is not there: its files are not, either
            continue
    try:
        yield Reopening(bases, target.record_directory, False, target.relocation, is_plain=True)
    finally:
        for each in (base, *bases.values()):
            os.close(each)
        # Here and now: it is mounted again at once, perhaps by another loop device.
        visitor.dismount(scratch_directory(), 0)


@contextmanager
def _for_writing(
    file: SavedFile, requests: Requests, reopening: Reopening
) -> Iterator[tuple[int, str]]:
    """A descriptor for writing; or why there is none. Closed in the end."""
    writing, why = -1, "nobody is left who has it open for writing"
    for request in requests.get(key_of(file), ()):
        result = reopening.open(request)
        if result.descriptor is not None:
            writing, why = result.descriptor, ""
            break
        why = result.note or str(result.outcome)
    try:
        if writing >= 0 and fcntl.fcntl(writing, fcntl.F_GETFL) & os.O_APPEND:
            yield writing, "it can only be appended to"
        else:
            yield writing, why
    finally:
        if writing >= 0:
            os.close(writing)


def as_requests(asked: Sequence[tuple[Handle, OpenRequest]]) -> Requests:
    """By file, how it is to be opened: for writing, at no offset, with no locks or contents."""
    found: dict[tuple[int, int, str], list[OpenRequest]] = {}
    for handle, request in asked:
        access = request.flags & os.O_ACCMODE
        if _is_for_writing(handle) and access != os.O_RDONLY:
            plain = replace(request, flags=access, offset=0, locks=(), contents="", before=None)
            found.setdefault(key_of(handle), []).append(plain)
    return found
