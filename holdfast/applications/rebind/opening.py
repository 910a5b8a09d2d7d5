"""Opens files on the new mounts as they were open on the old ones.

Runs in an expendable child (see opener.py): everything here may block when the new storage does.
Never creates, truncates or follows a link; writes only what had no name on the old storage, into
a file that has no name on the new one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.applications.rebind.contents import copy_contents, same_contents
from holdfast.applications.rebind.outcomes import compare, observe
from holdfast.applications.rebind.wanted import Expected, Opened, Wanted
from holdfast.model.handle import FileLock, HandleOutcome, LockKind
from holdfast.system.beneath import open_beneath

_TEMPORARY_FLAG = os.O_TMPFILE & ~os.O_DIRECTORY
DROPPED_FLAGS = os.O_CREAT | os.O_EXCL | os.O_TRUNC | _TEMPORARY_FLAG
_MISSING = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EXDEV,
                      errno.ENXIO})  # fmt: skip
_KINDS = {Expected.FILE: stat.S_ISREG, Expected.DIRECTORY: stat.S_ISDIR}
_SET_OWNER, _SET_SIGNAL = 15, 10  # F_SETOWN_EX, F_SETSIG: asm-generic/fcntl.h
_SET_OPEN_FILE_LOCK = 37  # F_OFD_SETLK
_LOCK_TYPES = {"read": fcntl.F_RDLCK, "write": fcntl.F_WRLCK}


class _Missing(Exception):
    """There is no such file any more."""


@dataclass
class Opening:
    """The new mounts, and the files without a name that were made on them so far."""

    bases: Mapping[int, int]
    """Old mount → descriptor of the root of the mount that replaces it."""
    directory: Path
    """The record directory, with the contents that are carried over."""
    same_data: bool = False
    carried: dict[str, int] = field(default_factory=dict)

    def open(self, wanted: Wanted) -> Opened:
        """One description, at its offset, with its locks. Never raises OSError."""
        try:
            descriptor, outcome, note = self._open(wanted)
        except _Missing as error:
            return Opened(None, HandleOutcome.FILE_MISSING, str(error))
        except OSError as error:
            return Opened(None, HandleOutcome.LOST, error.strerror or str(error))
        try:
            if wanted.offset and not wanted.flags & (os.O_PATH | os.O_DIRECTORY):
                os.lseek(descriptor, wanted.offset, os.SEEK_SET)
            if wanted.owner is not None and not wanted.flags & os.O_PATH:
                with suppress(OSError):  # who was to be told is gone
                    fcntl.fcntl(descriptor, _SET_OWNER, struct.pack("=ii", *wanted.owner))
                    fcntl.fcntl(descriptor, _SET_SIGNAL, wanted.signal)
            lost = tuple(lock for lock in wanted.locks if not _take(descriptor, lock))
        except OSError as error:
            os.close(descriptor)
            return Opened(None, HandleOutcome.LOST, error.strerror or str(error))
        if lost:
            return Opened(descriptor, HandleOutcome.LOST, "another process has the lock now", lost)
        return Opened(descriptor, outcome, note)

    def _open(self, wanted: Wanted) -> tuple[int, HandleOutcome, str]:
        flags = wanted.flags & ~DROPPED_FLAGS
        if wanted.deleted:
            return self._reopen(wanted, flags), HandleOutcome.IDENTICAL, ""
        try:
            descriptor, note = self._open_named(wanted, flags)
        except _Missing:
            if not wanted.contents:
                raise
            note = "has no name any more: the file is missing"
            return self._reopen(wanted, flags), HandleOutcome.ROLLED_BACK, note
        if wanted.contents and not same_contents(descriptor, self.directory / wanted.contents):
            os.close(descriptor)
            note = "goes on with the old contents: those of the file differ now"
            return self._reopen(wanted, flags), HandleOutcome.ROLLED_BACK, note
        if wanted.flags & os.O_PATH or wanted.expected is not Expected.FILE:
            return descriptor, HandleOutcome.IDENTICAL, note
        limit = wanted.before.size_bytes if wanted.before and wanted.before.digest else -1
        outcome, words = compare(wanted.before, observe(descriptor, limit), self.same_data)
        return descriptor, outcome, "; ".join(filter(None, (note, words)))

    def _open_named(self, wanted: Wanted, flags: int) -> tuple[int, str]:
        base = self.bases.get(wanted.mount_id)
        if base is None:
            raise _Missing("its mount was not mounted again")
        note = ""
        # A FIFO that took the file's place must not make us wait for its other end.
        without_waiting = 0 if flags & os.O_PATH else os.O_NONBLOCK
        try:
            try:
                descriptor = open_beneath(base, wanted.path, flags | without_waiting)
            except OSError as error:
                if error.errno != errno.EINVAL or not flags & os.O_DIRECT:
                    raise
                descriptor = open_beneath(base, wanted.path, flags & ~os.O_DIRECT | without_waiting)
                note = "without O_DIRECT, which the new file system refuses"
        except OSError as error:
            if error.errno in _MISSING:
                raise _Missing(error.strerror) from error
            raise
        is_right = _KINDS.get(wanted.expected)
        if is_right is not None and not is_right(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise _Missing("something else is at its path now")
        if not flags & (os.O_NONBLOCK | os.O_PATH):
            now = fcntl.fcntl(descriptor, fcntl.F_GETFL)
            fcntl.fcntl(descriptor, fcntl.F_SETFL, now & ~os.O_NONBLOCK)
        return descriptor, note

    def _reopen(self, wanted: Wanted, flags: int) -> int:
        """Another description of the file without a name that has the old contents."""
        if not wanted.contents:
            raise OSError(errno.ENODATA, "its contents could not be read before")
        if wanted.contents not in self.carried:
            self.carried[wanted.contents] = self._carry_over(wanted)
        path = f"/proc/self/fd/{self.carried[wanted.contents]}"
        flags &= ~(os.O_NOFOLLOW | os.O_DIRECTORY)
        try:
            return os.open(path, flags | os.O_CLOEXEC)
        except OSError as error:
            if error.errno != errno.EINVAL or not flags & os.O_DIRECT:
                raise
            return os.open(path, flags & ~os.O_DIRECT | os.O_CLOEXEC)

    def _carry_over(self, wanted: Wanted) -> int:
        source = self.directory / wanted.contents
        base = self.bases.get(wanted.mount_id)
        made = _nameless_file(base)
        try:
            copy_contents(source, made)
        except OSError:
            os.close(made)
            made = os.memfd_create("holdfast-carried", os.MFD_CLOEXEC)  # no room: in memory
            copy_contents(source, made)
        before = wanted.before
        if before is not None:
            with suppress(PermissionError):
                os.fchown(made, before.user_id, before.group_id)
            os.fchmod(made, stat.S_IMODE(before.mode))
            os.utime(made, ns=(before.modified_ns, before.modified_ns))
        # Nobody may have it open for writing when it becomes a program (execve(2), ETXTBSY).
        reopened = os.open(f"/proc/self/fd/{made}", os.O_RDONLY | os.O_CLOEXEC)
        os.close(made)
        return reopened


def _nameless_file(base: int | None) -> int:
    """A new file without a name on that mount; in memory where it takes none."""
    if base is not None:
        with suppress(OSError):
            return os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=base)
        with suppress(OSError):
            descriptor, name = tempfile.mkstemp(prefix=".holdfast-", dir=f"/proc/self/fd/{base}")
            Path(name).unlink()
            return descriptor
    return os.memfd_create("holdfast-carried", os.MFD_CLOEXEC)


def _take(descriptor: int, lock: FileLock) -> bool:
    """Take a lock of a description; False when somebody else has it."""
    try:
        if lock.kind is LockKind.FLOCK:
            how = fcntl.LOCK_SH if lock.mode == "read" else fcntl.LOCK_EX
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        else:
            fcntl.fcntl(descriptor, _SET_OPEN_FILE_LOCK, lock_structure(lock))
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def lock_structure(lock: FileLock) -> bytes:
    """struct flock on 64-bit machines: type, whence, start, length (0: to the end), pid."""
    length = 0 if lock.end is None else lock.end - lock.start + 1
    return struct.pack("=hhiqqii", _LOCK_TYPES[lock.mode], os.SEEK_SET, 0, lock.start, length, 0, 0)
