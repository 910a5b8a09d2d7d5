"""Files of ours are replaced durably: whole or not at all, whatever dies and however full the disk.

Invariant: at every instant, also after a power cut, the name leads to the whole old contents or to
the whole new ones; when `replace_durably` returns, to the new ones. An error leaves the old file.
Must never write into a file that is in use under its name. Blocks as long as the storage does, so
that storage must not be a managed volume.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

_SUFFIX = ".new"
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def replace_durably(path: Path, contents: str | bytes, mode: int = 0o600) -> None:
    """Put the file in the place of `path`; file and directory are synced when it returns.

    Two that write at once each write a file of their own; the last one's stays. What a writer left
    that was killed is removed by the next one. Raises OSError (ENOSPC on a full disk): the old file
    is there then, unless it is the sync of the directory that failed.
    """
    data = contents.encode() if isinstance(contents, str) else contents
    _remove_left(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}{_SUFFIX}")
    descriptor = os.open(temporary, _FLAGS, mode)
    try:
        try:
            write_whole(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    sync_directory(path.parent)


def write_whole(descriptor: int, data: bytes, offset: int | None = None) -> None:
    """Write all of it; a disk that is full in the middle is an error and not a short write.

    At the descriptor's own position without an offset. Raises OSError.
    """
    view = memoryview(data)
    while view:
        if offset is None:
            done = os.write(descriptor, view)
        else:
            done = os.pwrite(descriptor, view, offset)
            offset += done
        if not done:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        view = view[done:]


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_left(path: Path) -> None:
    """Remove the halves that writers of this file left behind when they were killed."""
    begin = f".{path.name}."
    for left in path.parent.iterdir():
        if not (left.name.startswith(begin) and left.name.endswith(_SUFFIX)):
            continue
        pid = left.name[len(begin) :].partition(".")[0]
        if pid.isascii() and pid.isdigit() and not Path("/proc", pid).exists():
            with suppress(OSError):
                left.unlink()
