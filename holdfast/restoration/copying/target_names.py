"""The names of the copy: made, renamed and taken away as those of the source are.

Owns the folder in which files and directories wait between two names: its name cannot be guessed,
it is made for one pass and goes with it. Everything is relative to directories that are held open.
Invariant: what waits is put in its place or removed before the pass ends. Must never touch the
source.
"""

# Names are bytes relative to descriptors here.

from __future__ import annotations

import os
import secrets
import stat
from contextlib import ExitStack, closing, suppress

from holdfast.restoration.copying.trees.folders import Folders
from holdfast.restoration.copying.trees.tree import Tree
from holdfast.system.files.beneath import names_in, reopen

MADE_BY_MKFS = b"lost+found"
"""Of ext4, at the root: stays where the source has none."""


class TargetNames:
    """What can be done to the names below a target's root."""

    def __init__(self, root: bytes) -> None:
        """`root`: a path of our own. Raises OSError."""
        with ExitStack() as stack:
            self.folders = stack.enter_context(closing(Folders(root)))
            """Those of the names that are gone through."""
            self._others = stack.enter_context(closing(Folders(root)))
            """Those of a file's other name."""
            self._waited = stack.enter_context(closing(Folders(root)))
            """Those that wait, and what lies in them."""
            self._opened = stack.pop_all()
        self._aside = b""
        self._waiting = 0

    def set_aside(self, path: bytes, taken: Tree) -> bytes:
        """Let what has this name wait; where it is now. `taken`: names that the source has."""
        if not self._aside:
            self._aside = self._make_aside(taken)
        place = b"%s/%d" % (self._aside, self._waiting)
        self._waiting += 1
        self.rename(path, place)
        return place

    def _make_aside(self, taken: Tree) -> bytes:
        while True:
            name = b".holdfast-%s" % secrets.token_hex(16).encode()
            if name not in taken:
                os.mkdir(name, 0o700, dir_fd=self.folders.root)
                return name

    def end_waiting(self) -> bool:
        """Remove what nobody needs any more, and the folder; whether there was one."""
        if not self._aside:
            return False
        self._waited.forget()
        self._empty(self._aside)
        os.rmdir(self._aside, dir_fd=self.folders.root)
        self._aside, self._waiting = b"", 0
        return True

    def _empty(self, path: bytes) -> None:
        with self._waited.opened(path, os.O_PATH | os.O_DIRECTORY) as folder:
            listed = reopen(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                for name in names_in(listed):
                    os.unlink(name, dir_fd=folder)
            finally:
                os.close(listed)

    def rename(self, path: bytes, place: bytes) -> None:
        """Give it another name; whatever lies below goes with it."""
        folder, name = self._parent_of(path)
        source = os.dup(folder)
        try:
            folder, new_name = self._parent_of(place)
            os.rename(name, new_name, src_dir_fd=source, dst_dir_fd=folder)
        finally:
            os.close(source)
        self._forget(path)
        self._forget(place)

    def link(self, place: bytes, path: bytes) -> None:
        """A second name for the same file, whatever its kind."""
        source, name = self._parent_of(place, self._others)
        folder, new_name = self.folders.parent_of(path)
        os.link(name, new_name, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False)

    def remove(self, path: bytes, is_directory: bool) -> None:
        """Take the name away; a directory must be empty. One that is not there is no error."""
        with suppress(FileNotFoundError):
            folder, name = self._parent_of(path)
            if is_directory:
                os.rmdir(name, dir_fd=folder)
                self._forget(path)
            else:
                os.unlink(name, dir_fd=folder)

    def make_directory(self, path: bytes) -> None:
        """Make a directory that root alone can enter until it gets its attributes."""
        folder, name = self.folders.parent_of(path)
        try:
            os.mkdir(name, 0o700, dir_fd=folder)
        except FileExistsError:
            if path != MADE_BY_MKFS or not stat.S_ISDIR(self.status_of(path).st_mode):
                raise

    def make_room(self, path: bytes) -> None:
        """What mkfs made there goes; it is empty."""
        if path == MADE_BY_MKFS:
            with suppress(NotADirectoryError):
                self.remove(path, True)

    def make_special(self, path: bytes, kind: int, device_number: int) -> None:
        """A FIFO, a socket, a device."""
        folder, name = self.folders.parent_of(path)
        os.mknod(name, kind | 0o600, device_number, dir_fd=folder)

    def make_link(self, path: bytes, leads_to: bytes) -> None:
        """A symbolic link."""
        folder, name = self.folders.parent_of(path)
        os.symlink(leads_to, name, dir_fd=folder)

    def read_link(self, path: bytes) -> bytes:
        """The path that a symbolic link leads to."""
        folder, name = self._parent_of(path, self._others)
        return os.readlink(name, dir_fd=folder)

    def status_of(self, path: bytes) -> os.stat_result:
        """The status of a name, as by lstat(2). Raises OSError."""
        folder, name = self._parent_of(path, self._others)
        return os.stat(name, dir_fd=folder, follow_symlinks=False)

    def _parent_of(self, path: bytes, folders: Folders | None = None) -> tuple[int, bytes]:
        """As of `Folders`: whoever goes to and fro between two places loses neither."""
        if self._aside and path.startswith(self._aside + b"/"):
            folders = self._waited
        return (folders or self.folders).parent_of(path)

    def _forget(self, path: bytes) -> None:
        for folders in (self.folders, self._others, self._waited):
            folders.forget(path)

    def close(self) -> None:
        """Let go of everything. Idempotent."""
        self._opened.close()

    def clear(self, present: Tree, wanted: Tree) -> None:
        """Remove everything that an interrupted migration had begun to fill it with.

        Of `present`, what is there. mkfs's own directory stays where the source has none or one.
        """
        kept = wanted.get(MADE_BY_MKFS)
        keep = kept is None or kept.kind == stat.S_IFDIR
        for path in reversed(list(present)):
            is_directory = present[path].kind == stat.S_IFDIR
            if path and not (path == MADE_BY_MKFS and is_directory and keep):
                self.remove(path, is_directory)
