"""Errors of the disk that Holdfast's own files lie on, as errors with a code and a mend.

Must never hide a mistake of ours: only what a full or failing disk says is translated.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.errors import StateFailed

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
_OF_A_DISK = frozenset({*_NO_ROOM, errno.EROFS, errno.EIO})


@contextmanager
def writing_own_files(directory: Path) -> Iterator[None]:
    """Let what the block cannot write, because a disk is full or fails, be told as StateFailed.

    `directory`: where our files are. Any other OSError passes as it is.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _OF_A_DISK:
            raise
        unnamed = f"a disk that Holdfast writes to (its own files are in {directory})"
        first = "Make room there" if error.errno in _NO_ROOM else "See the kernel's log"
        raise StateFailed(
            f"{error.filename or unnamed}: {error.strerror}",
            f"{first}, then try again; volumes keep running meanwhile.",
        ) from error
