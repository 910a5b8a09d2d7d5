"""One side of a copy: every name below its root is opened through descriptors.

Invariant: a name is looked up in a directory that is held open. That directory was reached from the
root without following a link or entering another mount (system.files.beneath). Must never be given
a path that leads out of the root.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.system.files.beneath import open_beneath

_ROOT_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class Folders:
    """The directories below one root; the one that was asked for last stays open."""

    def __init__(self, root: bytes) -> None:
        """`root`: a path of our own, such as one below /proc/self/fd. Raises OSError."""
        self.root = os.open(root, _ROOT_FLAGS)
        self._path = b""
        self._last = self.root

    def parent_of(self, path: bytes) -> tuple[int, bytes]:
        """The directory (O_PATH) in which a name lies, and the name; valid until the next call.

        Raises OSError: ENOENT, ENOTDIR, ELOOP, EXDEV where no such directory is there.
        """
        folder, _, name = path.rpartition(b"/")
        if folder != self._path:
            self.forget()
            self._last = open_beneath(self.root, folder, os.O_PATH | os.O_DIRECTORY)
            self._path = folder
        return self._last, name

    @contextmanager
    def opened(self, path: bytes, flags: int, mode: int = 0) -> Iterator[int]:
        """What has this name, or the root, open; a link itself with O_PATH. Raises OSError."""
        folder, name = self.parent_of(path) if path else (self.root, b"")
        descriptor = open_beneath(folder, name, flags | (os.O_NOFOLLOW if name else 0), mode)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def status_of(self, path: bytes) -> os.stat_result:
        """The status of a name, as by lstat(2). Raises OSError."""
        folder, name = self.parent_of(path)
        return os.stat(name or b".", dir_fd=folder, follow_symlinks=False)

    def forget(self) -> None:
        """Look directories up anew: some have other names now."""
        if self._last != self.root:
            os.close(self._last)
        self._last, self._path = self.root, b""

    def close(self) -> None:
        """Let go of everything. Idempotent."""
        self.forget()
        if self.root >= 0:
            os.close(self.root)
            self.root = self._last = -1
