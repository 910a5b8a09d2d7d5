"""One side of a copy: every name below its root is opened through descriptors.

Invariant: a name is looked up in a directory that is held open. That directory was reached from the
root without following a link or entering another mount (system.files.beneath). A tree that is gone
through parents first, or children first, costs work proportional to its names, however deep it is.
Must never be given a path that leads out of the root.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from holdfast.system.files.beneath import open_beneath

_ROOT_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_LEVELS = 256
"""Every so many levels a directory above the present one is held open: at most 64 of them, as the
walk ends at paths of 32 KiB; and so many names at most are looked up on the way to the next one."""


class _Held(NamedTuple):
    path: bytes
    level: int
    descriptor: int


class Folders:
    """The directories below one root; the one that was asked for last stays open."""

    def __init__(self, root: bytes) -> None:
        """`root`: a path of our own, such as one below /proc/self/fd. Raises OSError."""
        self.root = os.open(root, _ROOT_FLAGS)
        self._held: list[_Held] = []
        """Each lies below the one before; all but the last at a multiple of `_LEVELS`."""

    def parent_of(self, path: bytes) -> tuple[int, bytes]:
        """The directory (O_PATH) in which a name lies, and the name; valid until the next call.

        Raises OSError: ENOENT, ENOTDIR, ELOOP, EXDEV where no such directory is there.
        """
        folder, _, name = path.rpartition(b"/")
        return self._reach(folder), name

    def _reach(self, folder: bytes) -> int:
        while self._held and not _is_in(folder, self._held[-1].path):
            os.close(self._held.pop().descriptor)
        above = self._held[-1] if self._held else _Held(b"", 0, self.root)
        names = folder[len(above.path) :].removeprefix(b"/").split(b"/")
        done = 0
        while above.path != folder:
            some = names[done : done + _LEVELS - above.level % _LEVELS]
            done += len(some)
            below = b"/".join(some)
            descriptor = open_beneath(above.descriptor, below, os.O_PATH | os.O_DIRECTORY)
            if above.level % _LEVELS:
                os.close(self._held.pop().descriptor)
            path = above.path + b"/" + below if above.path else below
            above = _Held(path, above.level + len(some), descriptor)
            self._held.append(above)
        return above.descriptor

    @contextmanager
    def opened(self, path: bytes, flags: int, mode: int = 0) -> Iterator[int]:
        """What has this name, or the root, open; a link itself with O_PATH. Raises OSError."""
        folder, name = self.parent_of(path) if path else (self.root, b"")
        descriptor = open_beneath(folder, name, flags | (os.O_NOFOLLOW if name else 0), mode)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def forget(self, path: bytes = b"") -> None:
        """Look this directory, and those in it, up anew: it has another name now, or is gone."""
        while self._held and _is_in(self._held[-1].path, path):
            os.close(self._held.pop().descriptor)

    def close(self) -> None:
        """Let go of everything. Idempotent."""
        self.forget()
        if self.root >= 0:
            os.close(self.root)
            self.root = -1


def _is_in(path: bytes, folder: bytes) -> bool:
    """Whether a path is this folder or lies in it; everything lies in the root."""
    return not folder or path == folder or path.startswith(folder + b"/")
