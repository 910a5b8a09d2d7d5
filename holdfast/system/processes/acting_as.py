"""Acting on files with the rights of another process: its user, groups and capabilities for files.

Owns the way there and back. Invariant: on leaving the context the calling thread has the rights
that it had, or the process ends. For processes with one thread (expendable children): the C library
would change groups in all of them.
"""

from __future__ import annotations

import ctypes
import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.late_dataclass import dataclass
from holdfast.system.proc import read, read_record
from holdfast.system.processes.process import die_with_parent, dies_with_parent

_STATUS = re.compile(rb"^(Uid|Gid|Groups|CapEff):[ \t]*(.*)$", re.MULTILINE)

# <linux/capability.h>
_OVERRIDE, _READ_SEARCH = 1, 2
_FOR_FILES = sum(1 << number for number in (0, _OVERRIDE, _READ_SEARCH, 3, 4, 9, 27, 32))
"""CAP_FS_MASK of the kernel: what the user number for files (setfsuid(2)) takes away and gives."""
_VERSION_3 = 0x20080522

_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Rights:
    """What a process may do with files, in the numbers of our user namespace."""

    user_id: int
    group_id: int
    groups: tuple[int, ...]
    capabilities: int = 0
    """Effective, in its own user namespace."""
    users: tuple[tuple[int, int], ...] | None = None
    """First number and count of the users that its own user namespace knows; None: it is ours."""
    known_groups: tuple[tuple[int, int], ...] | None = None

    @property
    def is_unbounded(self) -> bool:
        """Whether no file is closed to it."""
        return self.users is None and bool(self.capabilities >> _OVERRIDE & 1)

    def overrides(self, status: os.stat_result) -> bool:
        """Whether modes do not bind it, of this file: it is theirs to whom it is root."""
        return bool(self.capabilities >> _OVERRIDE & 1) and (
            self.users is None
            or (_among(status.st_uid, self.users) and _among(status.st_gid, self.known_groups))
        )

    def as_json(self) -> dict[str, object]:
        """Plain values."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, values: dict[str, object]) -> Rights:
        """What `as_json` described, also after JSON made lists of tuples."""
        return cls(**{name: _tuples(value) for name, value in values.items()})  # type: ignore[arg-type]


def rights_of(pid: int) -> Rights:
    """The rights of a process's main thread. Raises OSError when it has ended."""
    told = dict(_STATUS.findall(read_record(f"/proc/{pid}/status")))
    users = groups = None
    if os.readlink(f"/proc/{pid}/ns/user") != os.readlink("/proc/self/ns/user"):  # noqa: PTH115
        users, groups = _known(f"/proc/{pid}/uid_map"), _known(f"/proc/{pid}/gid_map")
    return Rights(
        user_id=int(told[b"Uid"].split()[3]),  # real, effective, saved, for files
        group_id=int(told[b"Gid"].split()[3]),
        groups=tuple(int(word) for word in told.get(b"Groups", b"").split()),
        capabilities=int(told[b"CapEff"], 16),
        users=users,
        known_groups=groups,
    )


@contextmanager
def acting_as(rights: Rights) -> Iterator[None]:
    """Have these rights, for files, within the context. Raises OSError when we may not."""
    is_bound, groups = dies_with_parent(), os.getgroups()
    user, group = os.geteuid(), os.getegid()
    effective, permitted, inheritable = _capabilities()
    theirs = rights.capabilities if rights.users is None else 0
    os.setgroups(list(rights.groups))
    _LIBC.setfsgid(rights.group_id)
    _LIBC.setfsuid(rights.user_id)
    try:
        wanted = effective & ~_FOR_FILES | theirs & permitted & _FOR_FILES
        _set_capabilities(wanted, permitted, inheritable)
        yield
    finally:
        _LIBC.setfsuid(user)
        _LIBC.setfsgid(group)
        _set_capabilities(effective, permitted, inheritable)
        os.setgroups(groups)
        if is_bound:
            die_with_parent()  # the kernel forgets it with each change of rights


def _known(path: str) -> tuple[tuple[int, int], ...]:
    """The numbers, as we count, that a user namespace has names for: user_namespaces(7)."""
    lines = (line.split() for line in read(path).split(b"\n"))
    return tuple((int(words[1]), int(words[2])) for words in lines if len(words) == 3)


def _among(number: int, ranges: tuple[tuple[int, int], ...] | None) -> bool:
    return any(first <= number < first + count for first, count in ranges or ())


def _tuples(value: object) -> object:
    return tuple(_tuples(each) for each in value) if isinstance(value, (list, tuple)) else value


def _capabilities() -> tuple[int, int, int]:
    """Effective, permitted, inheritable of this thread: capget(2)."""
    header, data = struct.pack("=Ii", _VERSION_3, 0), ctypes.create_string_buffer(24)
    if _LIBC.capget(header, data) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    low = struct.unpack_from("=III", data.raw, 0)
    high = struct.unpack_from("=III", data.raw, 12)
    effective, permitted, inheritable = (a | b << 32 for a, b in zip(low, high, strict=True))
    return effective, permitted, inheritable


def _set_capabilities(effective: int, permitted: int, inheritable: int) -> None:
    values = (effective, permitted, inheritable)
    low, high = (value & 0xFFFFFFFF for value in values), (value >> 32 for value in values)
    data = struct.pack("=6I", *low, *high)
    if _LIBC.capset(struct.pack("=Ii", _VERSION_3, 0), data) != 0:
        raise OSError(ctypes.get_errno(), "capset")
