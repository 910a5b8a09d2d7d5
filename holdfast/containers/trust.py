"""Opening files in folders that an administrator names: images, and the lock files beside them.

Invariant: what is opened is judged through its descriptor, so nobody can exchange it in between.
What becomes part of a volume must be root's alone, with one name, in a folder where strangers can
exchange nothing (`system.files.trusted` has the rules). What is part of one already must still be
a file of root's: it is known by its superblock, and a volume in use is not let down for the mode of
a folder. Where a server decides who owns a file (NFS, SMB, FUSE mounted by root), owners mean
nothing here. Must never follow a link at the last name, nor wait for a FIFO.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from holdfast.errors import Untrusted
from holdfast.system.files.trusted import (
    believe,
    fault_of,
    fault_of_server,
    mount_behind,
    open_parent,
)
from holdfast.system.mounts.mount_table import Mount, mount_holding

_SERVED = frozenset({"nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "virtiofs", "afs", "glusterfs"})
"""File systems whose owners are another host's."""
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
"""Whoever could write may have it open still: that is not mended by another mode."""
_PRIVATE = 0o600


def open_believed(path: Path, flags: int, *, in_use: bool = False, keep_mode: bool = False) -> int:
    """Open a file that is to be believed, or with O_CREAT and O_EXCL make one that is.

    `in_use`: it is part of a volume already. One that others could read is made private when it is
    opened for writing, unless it is to `keep_mode`: it is only looked at, and may be somebody's.
    Blocks as the storage does. Raises Untrusted, OSError.
    """
    try:
        if in_use or owners_are_a_servers(path):
            descriptor = os.open(path, flags | _FLAGS, _PRIVATE)
        else:
            with open_parent(path) as (folder, name):
                descriptor = os.open(name, flags | _FLAGS, _PRIVATE, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.ENODEV):  # a link, a socket
            believe(path, fault_of(path.lstat()))
        raise
    try:
        mount = mount_behind(descriptor)
        believe(path, fault_of_server(mount))
        status = os.fstat(descriptor)
        if in_use and not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EMEDIUMTYPE, "not a regular file", str(path))
        believe(path, _fault(status, served=_says_who_owns(mount), in_use=in_use))
        writing = flags & os.O_ACCMODE != os.O_RDONLY and not keep_mode
        if writing and status.st_mode & _OTHERS and not status.st_mode & _OTHERS_WRITE:
            with suppress(OSError):  # a server that knows no modes
                os.fchmod(descriptor, _PRIVATE)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def check_place(path: Path) -> None:
    """Raise Untrusted where strangers could exchange what is made at this path. Raises OSError."""
    if not owners_are_a_servers(path):
        with open_parent(path):
            pass


def owners_are_a_servers(path: Path) -> bool:
    """Whether who owns that file is decided by a server that root has mounted, there or on it."""
    place = os.path.join(os.path.realpath(path.parent), path.name)  # noqa: PTH118
    return _says_who_owns(mount_holding(place))


def _says_who_owns(mount: Mount | None) -> bool:
    """Whether a server that root has mounted decides who owns the files of this mount."""
    if mount is None:
        return False
    if mount.filesystem.partition(".")[0] in ("fuse", "fuseblk"):
        return "user_id=0" in mount.super_options.split(",")
    return mount.filesystem in _SERVED


def _fault(status: os.stat_result, *, served: bool, in_use: bool) -> str:
    found = fault_of(status)
    if not found or not (served or in_use):
        return found
    if not stat.S_ISREG(status.st_mode):
        return found
    if served:
        return f"it has {status.st_nlink} names (hard links)" if _shared(status, in_use) else ""
    return "" if status.st_uid in (0, os.geteuid()) else found


def _shared(status: os.stat_result, in_use: bool) -> bool:
    return not in_use and status.st_nlink > 1


def refuse_link(path: Path) -> None:
    """Raise Untrusted when the last name is a symbolic link. Raises OSError."""
    if stat.S_ISLNK(path.lstat().st_mode):
        raise Untrusted(
            f"{path} is a symbolic link", f"Name the file itself: {os.path.realpath(path)}."
        )
