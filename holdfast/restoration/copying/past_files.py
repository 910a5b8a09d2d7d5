"""Files of a volume as it was: looked at, and put back into the present one.

Both are directories held open; users may change the present one meanwhile, and may have put
anything into either. Invariants: no link is followed, no other mount entered; what is there already
is used only where it is the very file or directory of then, or where nobody can have put it there
who could not do the same to what was (`Renamers`); a new file has a name only when it is complete.
Must never look a whole path up by name.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field
from typing import NamedTuple

from holdfast.late_dataclass import dataclass
from holdfast.restoration.copying.inodes.attributes import copy_attributes
from holdfast.restoration.copying.past_places import (
    Renamers,
    fault_of_file,
    gives_rights,
    is_no_wider,
)
from holdfast.system.files.beneath import names_in, open_beneath, path_to, reopen
from holdfast.system.files.file_contents import make_equal

MOST_NAMES = 10_000
"""That are listed."""
MOST_DEPTH = 100
"""Of directories below the one that is put back: each takes two descriptors and a call."""
_MOST_WORDS = 20
_SYNC_BYTES = 64 << 20
"""What is written at most before it is made durable: so that the end of a large file is no silence
of minutes."""
_TICK_NS = 20_000_000
"""File systems take their times from a clock that is behind by a tick (10 ms at most)."""

_KINDS = {
    stat.S_IFDIR: "directory",
    stat.S_IFREG: "file",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}
_LOOK = os.O_PATH | os.O_NOFOLLOW
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class PastFile(NamedTuple):
    """One name, as it was."""

    name: str
    kind: str
    size_bytes: int
    owner_uid: int
    mode: int
    modified: float


@dataclass
class Brought:
    """What was put back."""

    files: int = 0
    written_bytes: int = 0
    left: list[str] = field(default_factory=list)
    """What was not, and why, in words; no more than some."""

    def leave(self, name: bytes, why: str) -> None:
        """Say that it was left."""
        if len(self.left) < _MOST_WORDS:
            self.left.append(f"{os.fsdecode(name)}: {why}")


@dataclass
class _Work:
    """One restoration: what is told of it, and what it does not do."""

    tell: Callable[[], None]
    keeps_rights: bool = True
    """Whether set-id bits and what else gives rights are put back."""
    brought: Brought = field(default_factory=Brought)


def listed(root: int, names: Sequence[bytes]) -> list[PastFile]:
    """What is at that path: the names in a directory, else itself. Raises OSError."""
    with _opened(root, names, _LOOK) as place:
        status = os.fstat(place)
        if not stat.S_ISDIR(status.st_mode):
            return [_seen(names[-1], status)]
        directory = reopen(place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            found = sorted(names_in(directory))[:MOST_NAMES]
            return [
                _seen(name, os.stat(name, dir_fd=directory, follow_symlinks=False))
                for name in found
            ]
        finally:
            os.close(directory)


def put_back(
    past: int, names: Sequence[bytes], present: int, tell: Callable[[], None] = lambda: None
) -> Brought:
    """Put what was at that path there again, with all that is below; durable.

    Directories on the way are made where they are gone. `tell` is called again and again while it
    goes on. Raises OSError.
    """
    work = _Work(tell)
    folders = [os.dup(past), os.dup(present)]
    try:
        renamers = Renamers().below(os.fstat(present))
        for name in names[:-1]:
            source = open_beneath(folders[0], name, _DIRECTORY)
            old, folders[0] = folders[0], source
            os.close(old)
            target = _directory(folders[1], name, source)
            old, folders[1] = folders[1], target
            os.close(old)
            renamers = renamers.below(os.fstat(target))
        _bring((folders[0], folders[1]), names[-1], work, renamers, MOST_DEPTH)
    finally:
        for each in folders:
            os.close(each)
    return work.brought


def put_into(
    past: int,
    names: Sequence[bytes],
    directory: int,
    renamers: Renamers | None = None,
    tell: Callable[[], None] = lambda: None,
) -> Brought:
    """Put what was at that path into a directory, under its own name; durable. Raises OSError.

    `renamers`: of a directory of the volume; None: it is elsewhere, on the way to which nobody else
    can exchange anything, and where nothing gives rights: they were the volume's, which may be
    mounted without. `tell` as of `put_back`.
    """
    work = _Work(tell, keeps_rights=renamers is not None)
    renamers = (renamers or Renamers()).below(os.fstat(directory))
    with _opened(past, names[:-1], _DIRECTORY) as folder:
        _bring((folder, directory), names[-1], work, renamers, MOST_DEPTH)
    return work.brought


def entered(base: int, names: Sequence[bytes]) -> tuple[int, Renamers]:
    """A directory below another one, and who can exchange it; caller closes. Raises OSError."""
    found, renamers = os.dup(base), Renamers()
    for name in names:
        renamers = renamers.below(os.fstat(found))
        try:
            deeper = open_beneath(found, name, _DIRECTORY)
        finally:
            os.close(found)
        found = deeper
    return found, renamers


@contextmanager
def _opened(root: int, names: Sequence[bytes], flags: int) -> Iterator[int]:
    descriptor = open_beneath(root, b"/".join(names), flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _seen(name: bytes, status: os.stat_result) -> PastFile:
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), "other")
    mode = stat.S_IMODE(status.st_mode)
    return PastFile(os.fsdecode(name), kind, status.st_size, status.st_uid, mode, status.st_mtime)


def _directory(folder: int, name: bytes, source: int, *, keeps_rights: bool = True) -> int:
    """That directory, made like the source's where it is not there. Raises OSError."""
    began_ns = time.time_ns() - _TICK_NS
    try:
        os.mkdir(name, 0o700, dir_fd=folder)
    except FileExistsError:
        there = open_beneath(folder, name, _DIRECTORY)
        if is_no_wider(there, source):
            return there
        os.close(there)
        words = "another directory is there now, which lets others in than that of then did"
        raise OSError(errno.EEXIST, words) from None
    made = open_beneath(folder, name, _DIRECTORY)
    try:
        now = os.fstat(made)
        # Who owns the folder may have put another directory of root's in its place meanwhile.
        if names_in(made) or now.st_uid != os.geteuid() or now.st_mtime_ns < began_ns:
            raise OSError(errno.EEXIST, "somebody put another directory there just now")
        status = os.fstat(source)
        copy_attributes(source, made, status, status.st_mtime_ns, with_rights=keeps_rights)
        os.fsync(folder)
    except BaseException:
        os.close(made)
        raise
    return made


def _bring(
    sides: tuple[int, int], name: bytes, work: _Work, renamers: Renamers, depth: int
) -> None:
    """One name, from one directory to another, with all below it; `renamers`: in the latter.

    What cannot be put back is said; raises ENOSPC.
    """
    folder, target = sides
    work.tell()
    try:
        with _opened(folder, [name], _LOOK) as source:
            kind = stat.S_IFMT(os.fstat(source).st_mode)
            if kind == stat.S_IFDIR:
                _bring_directory((source, target), name, work, renamers, depth)
            elif kind == stat.S_IFREG:
                _bring_file(source, target, name, work, renamers)
            elif kind == stat.S_IFLNK:
                _bring_link(source, target, name, work.brought)
            else:
                work.brought.leave(name, f"it was a {_KINDS.get(kind, 'something else')}")
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        work.brought.leave(name, error.strerror or str(error))


def _bring_directory(
    sides: tuple[int, int], name: bytes, work: _Work, renamers: Renamers, depth: int
) -> None:
    source, target = sides
    if not depth:
        work.brought.leave(name, "it is too deep: put it back by itself")
        return
    reading = reopen(source, os.O_RDONLY | os.O_DIRECTORY)
    try:
        made = _directory(target, name, reading, keeps_rights=work.keeps_rights)
        try:
            renamers = renamers.below(os.fstat(made))
            for below in sorted(names_in(reading)):
                _bring((reading, made), below, work, renamers, depth - 1)
            os.fsync(made)
        finally:
            os.close(made)
    finally:
        os.close(reading)


def _bring_file(source: int, target: int, name: bytes, work: _Work, renamers: Renamers) -> None:
    try:
        with _opened(target, [name], _LOOK) as there:
            why = fault_of_file(there, source, renamers)
            if why:
                work.brought.leave(name, why)
                return
            # Not waiting: somebody may have a lease on it.
            writing, is_new, has_name = reopen(there, os.O_RDWR | os.O_NONBLOCK), False, True
    except FileNotFoundError:
        is_new, (writing, has_name) = True, _new(target, name)
    try:
        _fill(source, writing, work, is_new=is_new)
        if not has_name:
            os.link(path_to(writing), name, dst_dir_fd=target, follow_symlinks=True)
        if is_new:
            os.fsync(target)
    finally:
        os.close(writing)
    work.brought.files += 1
    if not work.keeps_rights and gives_rights(source):
        work.brought.leave(name, "it is there without its set-id bits and capabilities")


def _new(directory: int, name: bytes) -> tuple[int, bool]:
    """A new file, and whether it has its name already: only where the file system makes none
    without. Raises OSError."""
    flags = os.O_RDWR
    try:
        return open_beneath(directory, b".", flags | os.O_TMPFILE, 0o600), False
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise
    return open_beneath(
        directory, name, flags | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600
    ), True


def _fill(source: int, writing: int, work: _Work, *, is_new: bool) -> None:
    """Contents, then owner, mode, attributes and time; durable. Raises OSError."""
    status, unsynced = os.fstat(source), 0

    def goes_on(done_bytes: int) -> None:
        nonlocal unsynced
        unsynced += done_bytes
        if unsynced >= _SYNC_BYTES:
            os.fdatasync(writing)
            unsynced = 0
        work.tell()

    reading = reopen(source, os.O_RDONLY)
    try:
        if not is_new:
            mode = stat.S_IMODE(status.st_mode) & 0o777
            os.fchmod(writing, mode & stat.S_IMODE(os.fstat(writing).st_mode))
        work.brought.written_bytes += make_equal(reading, writing, is_new=is_new, goes_on=goes_on)
        copy_attributes(source, writing, status, status.st_mtime_ns, with_rights=work.keeps_rights)
        os.fsync(writing)
    finally:
        os.close(reading)


def _bring_link(source: int, target: int, name: bytes, brought: Brought) -> None:
    content = os.readlink(b"", dir_fd=source)
    try:
        os.symlink(content, name, dir_fd=target)
    except FileExistsError:
        brought.leave(name, "something is there now, and this was a link")
        return
    status = os.fstat(source)
    with _opened(target, [name], _LOOK) as made:
        if os.readlink(b"", dir_fd=made) == content:
            os.chown(path_to(made), status.st_uid, status.st_gid)
    brought.files += 1
