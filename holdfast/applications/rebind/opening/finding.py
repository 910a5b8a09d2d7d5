"""Finds the file that a handle was on: the inode, never merely a name.

Whoever may change names on a volume decides what is at a path; what was open was an inode. So a
descriptor of root's is given to a process only

    where the inode is known      if it is that one, under whatever name: number and generation
    where nothing can be known    if the process may open what is at its path by itself; or owns it;
    (other contents, or a file    or if owner, group and mode are what they were, and nobody but
    system without identities)    root and the owner can have changed a name on the way to it

Runs in an expendable child. Looks at everything with O_PATH first: opening a device or a FIFO that
somebody put in the place of a file does something. Never follows a link, never enters another
mount.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from contextlib import suppress

from holdfast.applications.rebind.opening.requests import Expected, OpenRequest
from holdfast.applications.rebind.parking.observed import Observed
from holdfast.applications.rebind.parking.relocation import Relocation
from holdfast.late_dataclass import dataclass
from holdfast.system.files.beneath import open_beneath, reopen
from holdfast.system.files.inode_identity import identity_of, is_same, number_of, open_identity
from holdfast.system.processes.acting_as import Rights, acting_as

_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ENAMETOOLONG})
_KINDS = {
    Expected.FILE: stat.S_ISREG,
    Expected.DIRECTORY: stat.S_ISDIR,
    Expected.FIFO: stat.S_ISFIFO,
    Expected.DEVICE: stat.S_ISCHR,
    Expected.SOCKET: stat.S_ISSOCK,
}
_LOOK = os.O_PATH | os.O_NOFOLLOW
_ACCESS = {os.O_RDONLY: os.R_OK, os.O_WRONLY: os.W_OK, os.O_RDWR: os.R_OK | os.W_OK}
_MOST_NAMES = 100_000
"""Names of a directory that are gone through for one that was renamed in it."""


DENIED = "the process may not open it any more, as it was before"
"""What is said of a FIFO that looks as it did: who has an end of it still, and could not get one,
keeps nobody else from having it."""
_SOMETHING_ELSE = "something else is at its path now"
_DENIED_NOW = "the process may not open what is at its path now"


class Missing(Exception):
    """There is no such file any more, or none that the process may have."""


@dataclass(frozen=True)
class FoundFile:
    """The file. Whoever gets it closes `place`, and `lent` where there is one."""

    place: int
    """An O_PATH descriptor."""
    path: str | None
    """Below the root of its mount; None: no name of it is known."""
    is_proven: bool
    """Whether it is the very inode."""
    lent: int | None = None
    """Opened as the process would: where root is nobody, on a network, nothing else is."""

    def close(self) -> None:
        """Idempotence is not needed: once."""
        os.close(self.place)
        if self.lent is not None:
            os.close(self.lent)


def find(bases: Mapping[int, int], relocation: Relocation, request: OpenRequest) -> FoundFile:
    """The file of a handle. Raises Missing; OSError when the storage fails."""
    base = bases.get(request.mount_id)
    if base is None:
        raise Missing("its mount was not mounted again")
    found = _find(base, relocation, request)
    if not _is_right(request, os.fstat(found.place)):
        found.close()
        raise Missing(_SOMETHING_ELSE)
    return found


def _is_right(request: OpenRequest, status: os.stat_result) -> bool:
    """Whether this is what the request is of: the same kind of thing; the same device."""
    is_right = _KINDS.get(request.expected)
    is_device = request.expected is Expected.DEVICE
    return (is_right is None or is_right(status.st_mode)) and (
        not is_device or status.st_rdev == request.device
    )


def _find(base: int, relocation: Relocation, request: OpenRequest) -> FoundFile:
    was = request.was
    whole_path = "/".join(filter(None, (request.shows, request.path)))
    place = relocation.place_of(was, whole_path) if was is not None else None
    if place is not None:
        return _by_identity(base, _below(place.path, request.shows), place.identity)
    if was is not None and relocation.is_complete:
        raise Missing("it had no name any more when the old file system was dismounted")
    if request.deleted:
        raise Missing("it had no name any more")
    descriptor = _look(base, request.path)
    if was is not None and is_same(identity_of(descriptor), was.identity):
        return FoundFile(descriptor, request.path, is_proven=True)
    return _granted(base, descriptor, request)


def _below(path: str, shows: str) -> str | None:
    """A path of the whole file system as a mount that shows this directory has it."""
    if not shows:
        return path
    if path == shows:
        return ""
    return path.removeprefix(shows + "/") if path.startswith(shows + "/") else None


def _look(base: int, path: str) -> int:
    try:
        return open_beneath(base, path, _LOOK)
    except OSError as error:
        if error.errno in _NOT_THERE:
            raise Missing(error.strerror) from error
        raise


# --- by what its file system calls it -----------------------------------------------------------


def _by_identity(base: int, path: str | None, identity: str) -> FoundFile:
    """The inode itself: at its path, else under another name there, else without one."""
    if path is not None:
        with suppress(Missing):
            descriptor = _look(base, path)
            if is_same(identity_of(descriptor), identity):
                return FoundFile(descriptor, path, is_proven=True)
            os.close(descriptor)
        folder = path.rpartition("/")[0]
        for name in _named(base, folder, number_of(identity)):
            other = f"{folder}/{name}" if folder else name
            with suppress(Missing):
                descriptor = _look(base, other)
                if is_same(identity_of(descriptor), identity):
                    return FoundFile(descriptor, other, is_proven=True)
                os.close(descriptor)
    mount = reopen(base, os.O_RDONLY)
    try:
        return FoundFile(open_identity(mount, identity), None, is_proven=True)
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise
        raise Missing("it has no name any more: the file is gone") from error
    finally:
        os.close(mount)


def _named(base: int, folder: str, number: int | None) -> list[str]:
    """Names in a directory that lead to an inode of this number."""
    if number is None:
        return []
    try:
        descriptor = open_beneath(base, folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        if error.errno in _NOT_THERE:
            return []
        raise
    try:
        with os.scandir(descriptor) as entries:
            return [
                entry.name
                for _, entry in zip(range(_MOST_NAMES), entries, strict=False)
                if entry.inode() == number
            ]
    finally:
        os.close(descriptor)


# --- by what the processes may do ---------------------------------------------------------------


def _granted(base: int, descriptor: int, request: OpenRequest) -> FoundFile:
    """What is at the path, if every process that gets it may have it."""
    found = FoundFile(descriptor, request.path, is_proven=False)
    try:
        status = os.fstat(descriptor)
        is_left_alone: bool | None = None
        for rights in request.rights:
            if rights.is_unbounded:
                continue
            lent = _opened_as(rights, base, request, status)
            if lent is not None:
                if found.lent is not None:
                    os.close(found.lent)
                found = FoundFile(descriptor, request.path, is_proven=False, lent=lent)
                continue
            if rights.user_id == status.st_uid or rights.overrides(status):
                continue  # it could give itself the right
            if is_left_alone is None:
                is_left_alone = was_left_alone(base, request, status)
            if not is_left_alone:
                is_alike = request.was is not None and _looks_of(request.was) == _looks(status)
                raise Missing(DENIED if request.pipe and is_alike else _DENIED_NOW)
    except BaseException:
        found.close()
        raise
    return found


def _opened_as(
    rights: Rights, base: int, request: OpenRequest, status: os.stat_result
) -> int | None:
    """Opened by its path with these rights, if that is possible and leads there."""
    flags = request.flags & ~(os.O_NOATIME | os.O_NOFOLLOW)
    with suppress(OSError), acting_as(rights):
        place = open_beneath(base, request.path, _LOOK)
        try:
            if not os.path.samestat(os.fstat(place), status):
                return None
            if request.is_watched or request.expected is Expected.FIFO:  # it is not to be opened
                wanted = os.R_OK if request.is_watched else _ACCESS[flags & os.O_ACCMODE]
                if not os.access(f"/proc/self/fd/{place}", wanted, effective_ids=True):
                    return None
                return os.dup(place)
            if flags & os.O_PATH:
                return os.dup(place)
            if request.expected in _KINDS and _is_right(request, status):
                return reopen(place, flags | os.O_NONBLOCK)
        finally:
            os.close(place)
    return None


def was_left_alone(base: int, request: OpenRequest, status: os.stat_result | None) -> bool:
    """Whether it is as the file was, and only root or its owner can have named it.

    Without a status: whether only these can give anything that name.
    """
    was = request.was
    if was is None or (status is not None and _looks_of(was) != _looks(status)):
        return False
    names = request.path.split("/") if request.path else []
    for depth in range(len(names)):
        folder = open_beneath(base, "/".join(names[:depth]), _LOOK | os.O_DIRECTORY)
        try:
            above = os.fstat(folder)
        finally:
            os.close(folder)
        if above.st_uid not in (0, was.user_id) or above.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return False
    return True


def _looks_of(was: Observed) -> tuple[int, int, int]:
    return was.mode, was.user_id, was.group_id


def _looks(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mode, status.st_uid, status.st_gid
