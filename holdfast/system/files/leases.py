"""Leases that opening a file for reading would break: /proc/locks.

Owns the judgement "somebody would be told" (fcntl(2), Leases; delegations of an NFS server count
as well). Breaking a lease sends its holder SIGIO, which ends a process that does not expect it,
and no way into a file avoids that: the kernel looks at leases in every open(2) but one with O_PATH.
So this is asked right before. A lease that is taken in between is not seen: with O_NONBLOCK the
open fails then, but its holder has been told. Never opens the file itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Set
from dataclasses import field

from holdfast.late_dataclass import dataclass
from holdfast.system.proc import read

_LOCKS = "/proc/locks"
_KINDS = frozenset({b"LEASE", b"DELEG"})
_SHORT_BYTES = 1 << 16
"""Some hundred locks: a look takes some ten microseconds when the last one was just before."""
_SHARE = 10
"""A look at a longer table serves for so many times as long as it took: it costs a tenth."""

Key = tuple[int, int, int]
"""Device (major, minor) and inode."""


@dataclass
class Leases:
    """The leases that were ever seen: who takes one, and gives it back, takes it again soon."""

    _found: set[Key] = field(default_factory=set)
    _believed_until: float = 0.0

    def forbid_reading(self, status: os.stat_result) -> bool:
        """Whether somebody has, or had, a lease on this file that opening it would break."""
        self._look()
        return bool(self._found) and is_among(status.st_dev, status.st_ino, self._found)

    def _look(self) -> None:
        begun = time.monotonic()
        if begun < self._believed_until:
            return
        table = read(_LOCKS)
        self._found |= broken_by_reading(table)
        if len(table) > _SHORT_BYTES:
            ended = time.monotonic()
            self._believed_until = ended + _SHARE * (ended - begun)


def is_among(device: int, inode: int, found: Set[Key]) -> bool:
    """Whether the file that stat(2) describes so is one of these. Pure.

    On file systems with devices of their own for parts of them (btrfs, overlay) stat says another
    device than the table of locks: there the inode's number decides alone.
    """
    major, minor = os.major(device), os.minor(device)
    if (major, minor, inode) in found:
        return True
    return major == 0 and any(key[0] == 0 and key[2] == inode for key in found)


def broken_by_reading(table: bytes) -> frozenset[Key]:
    """The files with a lease that is no mere read lease, or that is being broken. Pure.

    `1: LEASE  ACTIVE    WRITE 4711 fe:00:131085 0 EOF`, fs/locks.c, lock_get_status().
    """
    found = set()
    for line in table.split(b"\n"):
        words = line.split()
        if len(words) < 6 or words[1] not in _KINDS:
            continue
        if words[2] == b"ACTIVE" and words[3] == b"READ":
            continue
        major, minor, inode = words[5].split(b":")
        found.add((int(major, 16), int(minor, 16), int(inode)))
    return frozenset(found)
