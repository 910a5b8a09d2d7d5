"""What belongs to an inode beside its contents: owner, mode, extended attributes, times.

Read from one descriptor and given to another, so that all of it is of one inode. Invariant: what
gives rights to whoever runs or reads the file (set-id bits, file capabilities, all of `security.`
and `trusted.`) comes after everything else, and only when the caller knows that contents and
attributes belong together. Must never look a name up.
"""

# What path_to() gives leads to the inode itself: links are followed to get there, and end there.
# ruff: noqa: PTH101

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from holdfast.system.files.beneath import path_to

OTHER_TIME = "time of modification (earlier, later or finer than the new file system can have)"
_GIVES_RIGHTS = ("security.", "trusted.")
_SET_ID = stat.S_ISUID | stat.S_ISGID


def copy_attributes(
    source: int, target: int, status: os.stat_result, modified_ns: int, *, with_rights: bool
) -> list[str]:
    """Give the target what `status` and the source's extended attributes say; what was not kept.

    Both are descriptors (O_PATH will do). The time of modification is that of the walk: empty
    directories in snapshots of btrfs have another each time they are looked up. Without
    `with_rights` a file gets no set-id bits and nothing that gives rights, and what it had of those
    is taken away. Raises OSError for owner, mode and times; an extended attribute that the target's
    file system refuses is named.
    """
    place = path_to(target)
    mode = stat.S_IMODE(status.st_mode)
    is_link = stat.S_ISLNK(status.st_mode)
    has_set_id = bool(mode & _SET_ID) and not is_link
    os.chown(place, status.st_uid, status.st_gid)
    if not is_link:
        os.chmod(place, mode & ~_SET_ID)
    names = _names(source, target)
    lost = []
    for name in names:
        if not name.startswith(_GIVES_RIGHTS):
            lost += _copy_one(source, target, name)
    if has_set_id and (with_rights or stat.S_ISDIR(status.st_mode)):
        os.chmod(place, mode)
    for name in names:
        if name.startswith(_GIVES_RIGHTS):
            if with_rights:
                lost += _copy_one(source, target, name)
            else:
                _remove(target, name)
    os.utime(place, ns=(status.st_atime_ns, modified_ns))
    if os.fstat(target).st_mtime_ns != modified_ns:
        lost.append(OTHER_TIME)
    return lost


def _copy_one(source: int, target: int, name: str) -> list[str]:
    try:
        os.setxattr(path_to(target), name, os.getxattr(path_to(source), name))
    except OSError as error:
        if error.errno == errno.ENODATA:
            _remove(target, name)
        elif error.errno in (errno.ENOSPC, errno.EDQUOT) and not _has_room(target):
            raise  # it is the room that is lacking, not the type that refuses
        else:
            return [f"attribute {name}: {error.strerror}"]
    return []


def _remove(target: int, name: str) -> None:
    with suppress(OSError):
        os.removexattr(path_to(target), name)


def _has_room(target: int) -> bool:
    return os.statvfs(path_to(target)).f_bavail > 0


def _names(source: int, target: int) -> list[str]:
    """Names of the extended attributes of either side. Empty where there are none at all."""
    names: set[str] = set()
    for descriptor in (source, target):
        try:
            names.update(os.listxattr(path_to(descriptor)))
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
    return sorted(names)
