"""The source of a pass: every file that is read is the very inode that was walked.

Users change the tree meanwhile, so a path may lead to something else by the time it is opened, or
somebody may have a lease on what it leads to. Such files are left to a later pass. Opens nothing
but regular files and directories, and changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.restoration.copying.trees.folders import Folders
from holdfast.restoration.copying.trees.tree import GONE, Signature, Walked
from holdfast.system.files.beneath import open_beneath, reopen
from holdfast.system.files.leases import Leases
from holdfast.system.files.subvolume import SUBVOLUME_ROOT

_READ = os.O_RDONLY | os.O_NOATIME | os.O_NONBLOCK
"""Without waiting: for a lease that was taken after we looked."""


class Elsewhere(Exception):
    """Something else than was walked is at this path: a later pass finds out what."""


class Leased(Exception):
    """Reading it would break somebody's lease: a later pass does, when everybody stands still."""


class WalkedSource:
    """One side of a pass, open while it lasts."""

    def __init__(self, folders: Folders, walked: Walked, leases: Leases) -> None:
        self._folders = folders
        self._walked = walked
        self._leases = leases

    @contextmanager
    def found(self, path: bytes, signature: Signature) -> Iterator[tuple[int, os.stat_result]]:
        """An O_PATH descriptor of the inode that was walked, and what stat says of it now.

        Raises Elsewhere.
        """
        try:
            folder, name = self._folders.parent_of(path)
            source = open_beneath(folder, name, os.O_PATH | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno in GONE:
                raise Elsewhere from None
            raise
        try:
            status = os.fstat(source)
            if not self._walked.is_same(status, signature):
                raise Elsewhere
            yield source, status
        finally:
            os.close(source)

    @contextmanager
    def reading(self, source: int, status: os.stat_result) -> Iterator[int]:
        """A descriptor for reading a regular file that was found. Raises Leased."""
        if self._leases.forbid_reading(status):
            raise Leased
        try:
            reading = reopen(source, _READ)
        except BlockingIOError:
            raise Leased from None
        try:
            yield reading
        finally:
            os.close(reading)

    def is_as_walked(self, status: os.stat_result, signature: Signature) -> bool:
        """Whether an inode that was found is as it was when it was walked."""
        return self._walked.signature_of(status) == signature

    def is_subvolume(self, path: bytes, signature: Signature) -> bool:
        """Whether a directory is the root of a btrfs subvolume, other than the tree's own root."""
        above = self._walked.tree.get(path.rpartition(b"/")[0])
        is_other = above is not None and above.inode[0] != signature.inode[0]
        return bool(path) and is_other and signature.inode[1] == SUBVOLUME_ROOT
