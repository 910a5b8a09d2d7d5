"""What is there now where something of a volume as it was is put back: whether it may be used.

Users exchange names in their directories. Where somebody else's file or directory may have been put
into the place of what was, whoever did it may have that open, or may enter it, and would get what
was never his: root's secrets, or a program that gives rights. Invariant: nothing is changed here,
and nothing looked up by name.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from holdfast.late_dataclass import dataclass
from holdfast.system.files.beneath import path_to
from holdfast.system.files.inode_identity import identity_of, is_same

_BY_ALL, _BY_GROUP = stat.S_IROTH | stat.S_IWOTH, stat.S_IRGRP | stat.S_IWGRP


@dataclass(frozen=True)
class Renamers:
    """Who, beside root, can put something else into the place of what lies at a path."""

    owners: frozenset[int] = frozenset()
    groups: frozenset[int] = frozenset()
    is_open: bool = False
    """Whether everybody can."""

    def below(self, directory: os.stat_result) -> Renamers:
        """The same of what lies in that directory."""
        owners, groups = self.owners | {directory.st_uid} - {0}, self.groups
        if directory.st_mode & stat.S_IWGRP:
            groups |= {directory.st_gid}
        return Renamers(owners, groups, self.is_open or bool(directory.st_mode & stat.S_IWOTH))

    def may_replace(self, then: os.stat_result) -> bool:
        """Whether everybody who can was allowed to read and write that file anyway. Pure.

        Somebody who was not could have put a file of its owner there that he has open.
        """
        if not self.is_open and not self.groups and self.owners <= {then.st_uid}:
            return True
        if then.st_mode & _BY_ALL == _BY_ALL:
            return True
        of_group = self.groups <= {then.st_gid} and then.st_mode & _BY_GROUP == _BY_GROUP
        return not self.is_open and self.owners <= {then.st_uid} and of_group


def is_no_wider(there: int, then: int) -> bool:
    """Whether a directory is that of then, or keeps out whom that kept out: what was closed by it
    alone may be open to everybody by its own mode."""
    if _is_same(there, then):
        return True
    now, was = os.fstat(there), os.fstat(then)
    is_owners = (now.st_uid, now.st_gid) == (was.st_uid, was.st_gid)
    return is_owners and not now.st_mode & 0o777 & ~was.st_mode and _acl(there) == _acl(then)


def _is_same(there: int, then: int) -> bool:
    return is_same(identity_of(there), identity_of(then))


def _acl(descriptor: int) -> bytes:
    return _attribute(descriptor, "system.posix_acl_access")


def _attribute(descriptor: int, name: str) -> bytes:
    """Empty: it has none."""
    with suppress(OSError):
        return os.getxattr(path_to(descriptor), name)
    return b""


def gives_rights(file: int) -> bool:
    """Whether who runs that file gets what he has not. Raises OSError."""
    return any(_rights(file))


def _rights(file: int) -> tuple[int, bytes]:
    set_id = os.fstat(file).st_mode & (stat.S_ISUID | stat.S_ISGID)
    return set_id, _attribute(file, "security.capability")


def fault_of_file(there: int, then: int, renamers: Renamers) -> str:
    """Why an existing file is not written; empty: it is.

    One that gave rights only while it does still: whoever has mapped it writes to it unseen, and
    would have a program of his own with them. Raises OSError.
    """
    now, was = os.fstat(there), os.fstat(then)
    if not stat.S_ISREG(now.st_mode):
        return "something else is there now"
    if (now.st_uid, now.st_gid) != (was.st_uid, was.st_gid):
        return "a file of another owner is there now"
    same = _is_same(there, then)
    if gives_rights(then) and not (same and _rights(there) == _rights(then)):
        return "it gave rights to who runs it, and comes back as a new file only: remove this one"
    if same:
        return ""
    if now.st_nlink > 1:
        return "another file with several names is there now"
    if not renamers.may_replace(was):
        return "another file is there now, in a directory that others can change"
    return ""
