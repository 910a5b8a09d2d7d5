"""What a canary does: asks a mounted file system for its room, writes, flushes and reads a file.

Runs in a child that may hang and be killed at any instant. Invariants: the file never has a name
(O_TMPFILE), so nobody can prepare it, no directory changes, and nothing stays whatever is killed;
no place is believed by its name: what was opened must be the volume's own mount.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from holdfast.late_dataclass import dataclass
from holdfast.policy.room import FreeRoom
from holdfast.system.mounts.mount_table import mount_number

_FILE_BYTES = 4096

_FAULTS = frozenset({
    errno.EIO, errno.EUCLEAN, errno.EBADMSG, errno.EROFS, errno.ESTALE, errno.ENXIO, errno.ENODEV,
    errno.ENOTCONN, errno.ECONNABORTED, errno.ESHUTDOWN, errno.EHOSTDOWN, errno.ETIMEDOUT,
    errno.EREMOTEIO,
})  # fmt: skip
"""Storage or its server fails. Anything else (no room, a quota, an immutable directory, a type of
file system that makes no files without names) is no reason to complain."""


class CanaryStep(StrEnum):
    """In this order. The values are for people."""

    ENTER = "the way to it"
    ROOM = "statfs"
    WRITE = "a write to a test file"
    FLUSH = "a flush of a test file"
    READ = "a read of a test file"
    IMAGES = "the images below"


@dataclass(frozen=True)
class CanaryTarget:
    """A volume that is to be asked."""

    volume: str
    path: str
    mounts: frozenset[int]
    """Numbers of its own mounts (mountinfo, first field)."""
    writes: bool
    room_mend: str
    """What to do when it is full."""
    images: tuple[tuple[str, str], ...] = ()
    """What each is (`leg 1`), and its path."""


@dataclass(frozen=True)
class CanaryAnswer:
    """A step that is done, or one image that was looked at."""

    step: CanaryStep
    error: int = 0
    """errno of a fault."""
    room: FreeRoom | None = None
    what: str = ""
    """Of an image: which one."""
    folder: str = ""
    """Of an image: the directory that it is in."""
    wrong: bool = False
    """What was read is not what was written."""
    seconds: float = 0.0
    """Of the step IMAGES: how long it was inside of the volume."""


def ask(target: CanaryTarget, tell: Callable[[CanaryAnswer], None]) -> None:
    """All steps, as far as one comes; may hang in each. The last answer has no room."""
    place = os.open(target.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    begun = time.monotonic()
    if mount_number(place) not in target.mounts:
        return  # somebody moved what is above it, or it is dismounted just now
    tell(CanaryAnswer(CanaryStep.ENTER))
    try:
        tell(CanaryAnswer(CanaryStep.ROOM, room=_room(place)))
        if target.writes:
            _write(place, tell)
    except OSError as error:
        if error.errno in _FAULTS:
            tell(CanaryAnswer(CanaryStep.ROOM, error=error.errno or errno.EIO))
    os.close(place)
    seconds = time.monotonic() - begun
    for what, path in target.images:
        _look_below(what, path, tell)
    tell(CanaryAnswer(CanaryStep.IMAGES, seconds=seconds))


def _write(place: int, tell: Callable[[CanaryAnswer], None]) -> None:
    step = CanaryStep.WRITE
    text = os.urandom(_FILE_BYTES)
    file = -1
    try:
        flags = os.O_TMPFILE | os.O_RDWR | os.O_EXCL | os.O_CLOEXEC
        file = os.open(".", flags, 0o600, dir_fd=place)
        os.pwrite(file, text, 0)
        tell(CanaryAnswer(step))
        step = CanaryStep.FLUSH
        os.fsync(file)
        tell(CanaryAnswer(step))
        step = CanaryStep.READ
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)  # from the storage, not from memory
        wrong = os.pread(file, _FILE_BYTES, 0) != text
        tell(CanaryAnswer(step, wrong=wrong))
    except OSError as error:
        if error.errno in _FAULTS:
            tell(CanaryAnswer(step, error=error.errno or errno.EIO))
    finally:
        if file >= 0:
            os.close(file)


def _look_below(what: str, path: str, tell: Callable[[CanaryAnswer], None]) -> None:
    """The room that a sparse image may still take; one that has all of its blocks takes none."""
    folder = str(Path(path).parent)
    try:
        status = os.stat(path)  # noqa: PTH116 - beside statvfs
        if status.st_blocks * 512 < status.st_size:
            tell(CanaryAnswer(CanaryStep.IMAGES, room=_room(folder), what=what, folder=folder))
    except OSError:
        return  # the gate, or the volume's report, says so


def _room(place: int | str) -> FreeRoom:
    found = os.statvfs(place)
    free, total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    reserved = (found.f_bfree - found.f_bavail) * found.f_frsize
    return FreeRoom(max(0, total - reserved), free, found.f_files, found.f_favail)
