"""What was only in memory of files on storage that failed: taken into files of ours, and put back.

    save      while everybody stands, before the old storage is dismounted (memory_taken)
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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from holdfast.applications.rebind.opening.reopening import Reopening
from holdfast.applications.rebind.opening.requests import OpenRequest
from holdfast.applications.rebind.parking.relocation import Relocation, SameFileSystem
from holdfast.late_dataclass import dataclass
from holdfast.model.bounded import Signed, Word
from holdfast.model.handle import Handle, HandleKind
from holdfast.model.mountpoint import MountPoint
from holdfast.mountpoints.private_mount import mount_privately
from holdfast.mountpoints.scratch import scratch_directory
from holdfast.system.files.beneath import open_beneath
from holdfast.system.files.durable import write_whole
from holdfast.system.files.page_cache import Range
from holdfast.system.fuse.wire import FALLOC_KEEP_SIZE, fallocate
from holdfast.system.mounts.visitor import Visitor

_RANGE = struct.Struct("<QQ")
_CHUNK_BYTES = 1 << 20
_WRITES_IN_PLACE = "ext4"
"""The file system that needs no room for what has blocks. XFS does where these are shared."""


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
    is_undated: bool = False
    """Whether it is not known when it was modified: the file system had shut itself down."""
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


def is_for_writing(handle: Handle) -> bool:
    """Whether its user may write by it."""
    if handle.kind is HandleKind.MAP:
        return "w" in handle.mode and "s" in handle.mode
    return handle.kind is HandleKind.FILE and "w" in handle.mode


def packed(ranges: Sequence[Range]) -> bytes:
    """How it is written behind what was saved of a file which ranges that has."""
    return b"".join(_RANGE.pack(*each) for each in ranges)


def digest_of(place: Path) -> str:
    """Of a file of ours."""
    with place.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def judge(files: Sequence[SavedFile], requests: Requests, target: Target) -> list[str]:
    """Why each of them cannot be put back; empty: it can. Raises HoldfastError where the storage
    cannot be mounted."""
    words = []
    with _there(target) as reopening:
        taken: set[tuple[int, int]] = set()
        for file in files:
            with _for_writing(file, requests, reopening) as (writing, why):
                words.append(why or _refusal(file, writing, taken, target))
    return words


def _refusal(file: SavedFile, writing: int, taken: set[tuple[int, int]], target: Target) -> str:
    status = os.fstat(writing)
    inode = status.st_dev, status.st_ino
    if not stat.S_ISREG(status.st_mode) or inode in taken:
        return "it is not a file of its own there"
    if file.is_undated:
        if not isinstance(target.relocation, SameFileSystem):
            return "the file there may have been changed later"
    elif status.st_mtime_ns > file.modified_ns:
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
                    place = directory / file.name
                    words.append(why or _write(file, writing, place, target.filesystem))
                except OSError as error:
                    words.append(f"it could not be put back whole: {error.strerror}")
    return words


def _write(file: SavedFile, writing: int, place: Path, filesystem: str) -> str:
    if digest_of(place) != file.digest:
        return "what had been saved of it is damaged"
    before = os.fstat(writing)
    if not _takes_room(writing, place, file.saved_bytes, filesystem):
        return "the storage there has no room for it"
    told = _without_set_id(writing, before.st_mode)
    os.ftruncate(writing, file.size_bytes)
    with place.open("rb") as saved:
        for offset, length in _ranges(place, file.saved_bytes):
            for at in range(offset, offset + length, _CHUNK_BYTES):
                part = saved.read(min(_CHUNK_BYTES, offset + length - at))
                write_whole(writing, part, at)
    if not file.is_undated:
        os.utime(writing, ns=(before.st_atime_ns, file.modified_ns))
    os.fsync(writing)
    missing_bytes = file.size_bytes - file.saved_bytes
    if missing_bytes:
        told += f"; {missing_bytes} of its {file.size_bytes} bytes were not in memory"
    return PUT_BACK + told


def _takes_room(writing: int, place: Path, saved_bytes: int, filesystem: str) -> bool:
    """Whether there is room for all of it; on ext4 it is taken, for what has no blocks yet. Where
    there is none, the file says and dates what it did before."""
    before = os.fstat(writing)
    if filesystem == _WRITES_IN_PLACE:
        try:
            for offset, length in _ranges(place, saved_bytes):
                fallocate(writing, FALLOC_KEEP_SIZE, offset, length)
            return True
        except OSError as error:
            os.utime(writing, ns=(before.st_atime_ns, before.st_mtime_ns))
            if error.errno != errno.EOPNOTSUPP:  # of a file that ext3 made
                return False
    space = os.fstatvfs(writing)
    return space.f_bfree * space.f_frsize >= saved_bytes


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
        if is_for_writing(handle) and access != os.O_RDONLY:
            plain = replace(request, flags=access, offset=0, locks=(), contents="", before=None)
            found.setdefault(key_of(handle), []).append(plain)
    return found
