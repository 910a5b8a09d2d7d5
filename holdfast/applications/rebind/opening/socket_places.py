"""Finds where a socket is to have its name on the new file system.

A copy of the volume has a dead socket there, which the new one replaces: it is found as any file is
(see finding). Other contents may lack it, and a server must stay reachable, so it gets its name
anew; but only in a directory where every process that gets it may make names by itself, or which
belongs to root or to the owner of the socket, like all above it. Where nothing may be replaced, the
socket has no name afterwards. Runs in an expendable child.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from holdfast.applications.rebind.opening.finding import Missing, find, was_left_alone
from holdfast.applications.rebind.opening.requests import OpenRequest, OpenResult
from holdfast.applications.rebind.parking.hidden_names import noted
from holdfast.applications.rebind.parking.relocation import OtherContents, Relocation
from holdfast.late_dataclass import dataclass
from holdfast.model.handle import HandleOutcome
from holdfast.system.files.beneath import open_beneath, reopen
from holdfast.system.files.inode_identity import identity_of, is_same
from holdfast.system.files.socket_names import remove_hidden
from holdfast.system.processes.acting_as import Rights, acting_as

_FOLDER = os.O_PATH | os.O_DIRECTORY


@dataclass
class SocketPlaces:
    """The new mounts, as for `Reopening`."""

    bases: Mapping[int, int]
    directory: Path
    relocation: Relocation

    def find(self, request: OpenRequest) -> OpenResult:
        """The directory, the name in it, and what has it now. Raises Missing, OSError."""
        base = self.bases.get(request.mount_id)
        if base is None:
            raise Missing("its mount was not mounted again")
        if request.deleted:
            return _nameless(base, "")
        try:
            return self._of_copy(base, request)
        except Missing as error:
            again = self._of_ours(base, request)
            if again is not None:
                return again
            if not isinstance(self.relocation, OtherContents):
                return _nameless(base, f"without a name: {error}")
        return _anew(base, request)

    def clear(self) -> None:
        """Remove what whoever died before us left hidden. Never raises OSError: it is in nobody's
        way."""
        for left in noted(self.directory):
            base = self.bases.get(left.mount_id)
            if base is not None:
                with suppress(OSError):
                    folder = open_beneath(base, left.folder, _FOLDER)
                    try:
                        remove_hidden(folder, left.hidden)
                    finally:
                        os.close(folder)

    def _of_copy(self, base: int, request: OpenRequest) -> OpenResult:
        found = find(self.bases, self.relocation, request)
        try:
            if found.path is None:
                raise Missing("no name leads to it")
            if not found.is_proven and not _may_name(base, request, os.fstat(found.place)):
                return _nameless(base, "without a name: its processes may not replace what has it")
            return _named(base, found.path, os.fstat(found.place))
        finally:
            found.close()

    def _of_ours(self, base: int, request: OpenRequest) -> OpenResult | None:
        """What an agent that has died since had bound there."""
        ours = [each.identity for each in noted(self.directory)]
        with suppress(OSError):
            place = open_beneath(base, request.path, os.O_PATH | os.O_NOFOLLOW)
            try:
                status = os.fstat(place)
                identity = identity_of(place)
                if stat.S_ISSOCK(status.st_mode) and any(is_same(identity, it) for it in ours):
                    return _named(base, request.path, status)
            finally:
                os.close(place)
        return None


def _named(base: int, path: str, status: os.stat_result) -> OpenResult:
    """Raises Missing when the name leads elsewhere by now."""
    above, _, name = path.rpartition("/")
    folder = open_beneath(base, above, _FOLDER)
    with suppress(FileNotFoundError):
        if os.path.samestat(os.stat(name, dir_fd=folder, follow_symlinks=False), status):
            return OpenResult(
                folder, HandleOutcome.IDENTICAL, name=path, replaces=status.st_ino, is_proven=True
            )
    os.close(folder)
    raise Missing("its name leads elsewhere now")


def _nameless(base: int, words: str) -> OpenResult:
    return OpenResult(reopen(base, _FOLDER), HandleOutcome.IDENTICAL, words)


def _anew(base: int, request: OpenRequest) -> OpenResult:
    """It gets its name among other contents, which lack it."""
    above, _, name = request.path.rpartition("/")
    try:
        folder = open_beneath(base, above, _FOLDER)
    except OSError as error:
        return _nameless(base, f"without a name: {error.strerror}")
    words = ""
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
        words = "something else has it now"
    except FileNotFoundError:
        if not _may_name(base, request, None):
            words = "its processes may make none there"
    if words:
        os.close(folder)
        return _nameless(base, f"without a name: {words}")
    words = "bound anew: the contents lacked it"
    return OpenResult(folder, HandleOutcome.IDENTICAL, words, name=request.path)


def _may_name(base: int, request: OpenRequest, status: os.stat_result | None) -> bool:
    """Whether every process that gets the socket may give it that name by itself, in place of what
    has it; or nobody but root and the owner can make names on the way."""
    if all(_may_write(each, base, request, status) for each in request.rights):
        return True
    return was_left_alone(base, request, status)


def _may_write(
    rights: Rights, base: int, request: OpenRequest, status: os.stat_result | None
) -> bool:
    if rights.is_unbounded:
        return True
    with suppress(OSError), acting_as(rights):
        folder = open_beneath(base, request.path.rpartition("/")[0], _FOLDER)
        try:
            above = os.fstat(folder)
            owners = (above.st_uid, status.st_uid if status else rights.user_id)
            if above.st_mode & stat.S_ISVTX and rights.user_id not in owners:
                return False
            here = f"/proc/self/fd/{folder}"
            return os.access(here, os.W_OK | os.X_OK, effective_ids=True)
        finally:
            os.close(folder)
    return False
