"""Contents without a name, copied on to the new file system before it is mounted for anybody.

Owns a folder at its root: a random name, made exclusively, mode 0700. The folder is gone as soon as
the file system is mounted and files are opened on it: everything in it is opened and unlinked at
once. Invariant: the copies in the record directory decide; those here may be missing or old, and
what they lack is written down with the former. Blocks when the storage does: for expendable
children only.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from holdfast.applications.rebind.parking.kept_contents import (
    BLOCK_BYTES,
    NO_ROOM,
    KeptContents,
    KeptCopy,
    no_room,
)
from holdfast.late_dataclass import dataclass
from holdfast.system.files.beneath import open_beneath, reopen
from holdfast.system.files.file_contents import copy_ranges, make_equal
from holdfast.system.files.inode_identity import open_through
from holdfast.system.files.leases import Leases
from holdfast.system.files.times_kept import times_kept

_MODE = 0o700


@dataclass(frozen=True)
class OpenFile:
    """A file that somebody has open, runs or maps."""

    link: str
    """In /proc; it may lead to another file by now."""
    device: int
    inode: int
    is_temporary: bool = False
    """Opened with O_TMPFILE: linkat(2) can give it a name."""


@dataclass
class CopiedAhead:
    """What one round of copying ahead came to."""

    written_bytes: int = 0
    left_bytes: int = 0
    """Of files that could not be read, or not copied on: that is done when everybody stands."""
    folder: str = ""
    """Ours on the new file system, see `KeptContents`."""


def copy_ahead(directory: Path, files: Iterable[OpenFile], target: int | None) -> CopiedAhead:
    """Copy these files, or what changed in them since the last round, while they are used.

    `target`: the root (O_PATH) of the new file system; None: nothing is copied on to it. Nor are
    temporary files: one that had a name can have none again. Files that have leases are left out.
    Raises TooSmall when the record directory has no room, OSError.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    contents = KeptContents.read(directory)
    leases = Leases()
    done = CopiedAhead()
    for file in files:
        with suppress(FileNotFoundError, ProcessLookupError):  # it was closed
            place = os.open(file.link, os.O_PATH | os.O_CLOEXEC)
            try:
                if _is(place, file):
                    onto = None if file.is_temporary else target
                    _copy_one(contents, place, leases, onto, done)
            finally:
                os.close(place)
    contents.write()
    done.folder = contents.folder
    return done


def _is(place: int, file: OpenFile) -> bool:
    status = os.fstat(place)
    same = (status.st_dev, status.st_ino) == (file.device, file.inode)
    return same and stat.S_ISREG(status.st_mode)


def _copy_one(
    contents: KeptContents, place: int, leases: Leases, target: int | None, done: CopiedAhead
) -> None:
    status = os.fstat(place)
    try:
        if leases.forbid_reading(status):
            raise BlockingIOError
        kept, written = contents.keep(place, is_used=True)
    except BlockingIOError:
        done.left_bytes += status.st_blocks * BLOCK_BYTES
        return
    except OSError as error:
        if error.errno in NO_ROOM:
            raise no_room(contents.directory) from error
        raise
    done.written_bytes += written
    if status.st_nlink:
        return
    if target is None:
        done.left_bytes += status.st_blocks * BLOCK_BYTES
    else:
        done.written_bytes += _place(contents, kept, target)


def _place(contents: KeptContents, kept: KeptCopy, target: int) -> int:
    """Copy it on, or what changed in it; how many bytes were written."""
    if not contents.folder:
        contents.folder = f".holdfast-{secrets.token_hex(16)}"
        with times_kept(target):
            os.mkdir(contents.folder, _MODE, dir_fd=target)
    is_new = not kept.is_placed
    flags = os.O_RDWR | (os.O_CREAT | os.O_EXCL if is_new else 0)
    path = f"{contents.folder}/{kept.name}"
    writing = open_beneath(target, path, flags, 0o600 if is_new else 0)
    try:
        with _reading(contents.directory / kept.name) as reading:
            if is_new:
                written = make_equal(reading, writing, is_new=True)
            else:
                written = copy_ranges(reading, writing, kept.changed)
    finally:
        os.close(writing)
    kept.is_placed, kept.changed = True, []
    return written


@contextmanager
def _reading(path: Path) -> Iterator[int]:
    reading = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield reading
    finally:
        os.close(reading)


class PlacedContents:
    """What is there on the new file system, once it is mounted: open, and without names."""

    def __init__(self, directory: Path, bases: Sequence[int]) -> None:
        """`bases`: the roots of mounts of it. Where none shows the folder, nothing is there."""
        self._directory = directory
        self._files: dict[str, int] = {}
        self._base = -1
        contents = KeptContents.read(directory)
        self._changed = {
            each.name: each.changed for each in contents.kept.values() if each.is_placed
        }
        for base in bases if contents.folder else ():
            with suppress(OSError):  # it shows another part, or is read-only
                self._take(base, contents.folder)
                break

    def _take(self, base: int, folder_name: str) -> None:
        folder = open_beneath(base, folder_name, os.O_RDONLY | os.O_DIRECTORY)
        try:
            status = os.fstat(folder)
            if status.st_uid or stat.S_IMODE(status.st_mode) != _MODE:
                raise PermissionError(1, "this folder is not ours")
            for name in self._changed:
                with suppress(FileNotFoundError):
                    self._files[name] = open_beneath(folder, name, os.O_RDWR)
                    os.unlink(name, dir_fd=folder)
        finally:
            os.close(folder)
        self._base = base
        with times_kept(base):
            os.rmdir(folder_name, dir_fd=base)

    def take(self, name: str, base: int | None) -> int | None:
        """A file (for reading and writing; caller closes) with what the copy of this name has now.

        `base`: the root of the mount through which it is to be open. None: there is no such file,
        or not through that mount. Raises OSError.
        """
        descriptor = self._files.pop(name, None)
        if descriptor is None or base is None:
            return descriptor
        with _reading(self._directory / name) as reading:
            copy_ranges(reading, descriptor, self._changed[name])
        if base == self._base:
            return descriptor
        try:
            place = open_through(base, descriptor)
            try:
                return reopen(place, os.O_RDWR)
            finally:
                os.close(place)
        except OSError:
            return None
        finally:
            os.close(descriptor)
