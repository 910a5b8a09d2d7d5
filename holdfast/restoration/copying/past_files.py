"""Files of a volume as it was: looked at, and put back into the present one.

Both are directories held open; users may change the present one meanwhile, and may have put
anything into either. Invariant: no link is followed, no other mount entered; an existing file is
written only when it has the owner that it had: whoever put his own file there does not get another
one's contents. Must never look a whole path up by name.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from holdfast.restoration.copying.inodes.attributes import copy_attributes
from holdfast.system.files.beneath import names_in, open_beneath, path_to, reopen
from holdfast.system.files.file_contents import make_equal

MOST_NAMES = 10_000
"""That are listed."""
MOST_DEPTH = 100
"""Of directories below the one that is put back: each takes two descriptors and a call."""
_MOST_WORDS = 20
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


def put_back(past: int, names: Sequence[bytes], present: int) -> Brought:
    """Put what was at that path there again, with all that is below; durable.

    Directories on the way are made where they are gone. Raises OSError.
    """
    brought = Brought()
    folders = [os.dup(past), os.dup(present)]
    try:
        for name in names[:-1]:
            source = open_beneath(folders[0], name, _DIRECTORY)
            old, folders[0] = folders[0], source
            os.close(old)
            target = _directory(folders[1], name, source)
            old, folders[1] = folders[1], target
            os.close(old)
        _bring(folders[0], folders[1], names[-1], brought, MOST_DEPTH)
    finally:
        for each in folders:
            os.close(each)
    return brought


def put_into(past: int, names: Sequence[bytes], directory: int) -> Brought:
    """Put what was at that path into a directory, under its own name; durable. Raises OSError."""
    brought = Brought()
    with _opened(past, names[:-1], _DIRECTORY) as folder:
        _bring(folder, directory, names[-1], brought, MOST_DEPTH)
    return brought


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


def _directory(folder: int, name: bytes, source: int) -> int:
    """That directory, made like the source's where it is not there. Raises OSError."""
    began_ns = time.time_ns() - _TICK_NS
    try:
        os.mkdir(name, 0o700, dir_fd=folder)
    except FileExistsError:
        return open_beneath(folder, name, _DIRECTORY)
    made = open_beneath(folder, name, _DIRECTORY)
    try:
        now = os.fstat(made)
        # Who owns the folder may have put another directory of root's in its place meanwhile.
        if names_in(made) or now.st_uid != os.geteuid() or now.st_mtime_ns < began_ns:
            raise OSError(errno.EEXIST, "somebody put another directory there just now")
        status = os.fstat(source)
        copy_attributes(source, made, status, status.st_mtime_ns, with_rights=True)
        os.fsync(folder)
    except BaseException:
        os.close(made)
        raise
    return made


def _bring(folder: int, target: int, name: bytes, brought: Brought, depth: int) -> None:
    """One name with all that is below it. What cannot be put back is said; raises ENOSPC."""
    try:
        with _opened(folder, [name], _LOOK) as source:
            kind = stat.S_IFMT(os.fstat(source).st_mode)
            if kind == stat.S_IFDIR:
                _bring_directory(source, target, name, brought, depth)
            elif kind == stat.S_IFREG:
                _bring_file(source, target, name, brought)
            elif kind == stat.S_IFLNK:
                _bring_link(source, target, name, brought)
            else:
                brought.leave(name, f"it was a {_KINDS.get(kind, 'something else')}")
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        brought.leave(name, error.strerror or str(error))


def _bring_directory(source: int, target: int, name: bytes, brought: Brought, depth: int) -> None:
    if not depth:
        brought.leave(name, "it is too deep: put it back by itself")
        return
    reading = reopen(source, os.O_RDONLY | os.O_DIRECTORY)
    try:
        made = _directory(target, name, reading)
        try:
            for below in sorted(names_in(reading)):
                _bring(reading, made, below, brought, depth - 1)
            os.fsync(made)
        finally:
            os.close(made)
    finally:
        os.close(reading)


def _bring_file(source: int, target: int, name: bytes, brought: Brought) -> None:
    status = os.fstat(source)
    is_new = True
    try:
        writing = open_beneath(
            target, name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600
        )
    except FileExistsError:
        is_new = False
        with _opened(target, [name], _LOOK) as there:
            why = _not_that_file(os.fstat(there), status)
            if why:
                brought.leave(name, why)
                return
            # Not waiting: somebody may have a lease on it.
            writing = reopen(there, os.O_RDWR | os.O_NONBLOCK)
    reading = reopen(source, os.O_RDONLY)
    try:
        os.fchown(writing, status.st_uid, status.st_gid)
        mode = stat.S_IMODE(status.st_mode) & 0o777
        os.fchmod(writing, mode & stat.S_IMODE(os.fstat(writing).st_mode))
        brought.written_bytes += make_equal(reading, writing, is_new=is_new)
        copy_attributes(source, writing, status, status.st_mtime_ns, with_rights=True)
        os.fsync(writing)
    finally:
        os.close(reading)
        os.close(writing)
    brought.files += 1
    if is_new:
        os.fsync(target)


def _not_that_file(now: os.stat_result, then: os.stat_result) -> str:
    """Why an existing file is not written; empty: it is. Numbers of inodes are used again."""
    if not stat.S_ISREG(now.st_mode):
        return "something else is there now"
    is_owners = (now.st_uid, now.st_gid) == (then.st_uid, then.st_gid)
    if not is_owners:
        return "a file of another owner is there now"
    if now.st_nlink > 1 and now.st_ino != then.st_ino:
        return "another file with several names is there now"
    return ""


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
