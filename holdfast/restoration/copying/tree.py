"""What a file tree consists of, and how it is known that a file was not touched since.

A signature is taken *before* the file system is synced and the file is read. The sync makes its
pages clean, so that the next store through a memory map goes through a fault, which sets the change
time: whatever changes a file after its signature changes the signature. A change time so young
that a later change could get the same one (clock granularity) counts as changed (`is_settled`).
Never follows symbolic links, never leaves the file system that it was given.
"""

# Paths are bytes here, as the kernel has them.
# ruff: noqa: PTH118

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass

SETTLE_NS = 50_000_000
"""Change times come from a clock that ticks every 1 to 10 ms (CONFIG_HZ) on kernels before 6.13."""

COARSE_SETTLE_NS = 3_000_000_000
"""FAT counts in steps of 2 s, ext4 with inodes of 128 bytes and HFS+ in seconds, exFAT in 10 ms."""
_COARSE_STEP_NS = 10_000_000
"""A change time without a remainder is taken for one of those: at worst a file is read again."""


Inode = tuple[bytes, int]
"""Path of the subvolume (btrfs; empty: the root's), and the number in it: stays what it is when the
file system is mounted anew, as st_dev does not."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What stat(2) says of one name, as far as it must be equal in a copy or tell of a change."""

    inode: Inode
    mode: int
    user: int
    group: int
    size_bytes: int
    modified_ns: int
    changed_ns: int
    links: int
    device_number: int

    @property
    def kind(self) -> int:
        """S_IFREG, S_IFDIR, …"""
        return stat.S_IFMT(self.mode)

    def is_settled(self, now_ns: int) -> bool:
        """Whether a change from now on is certain to show in the change time."""
        is_coarse = self.changed_ns % _COARSE_STEP_NS == 0
        return self.changed_ns < now_ns - (COARSE_SETTLE_NS if is_coarse else SETTLE_NS)


Tree = dict[bytes, Signature]
"""By path below the root; the root itself is the empty path."""


def signature_of(status: os.stat_result, subvolume: bytes = b"") -> Signature:
    """The signature that this answer of lstat(2) gives."""
    return Signature(
        inode=(subvolume, status.st_ino),
        mode=status.st_mode,
        user=status.st_uid,
        group=status.st_gid,
        size_bytes=status.st_size,
        modified_ns=status.st_mtime_ns,
        changed_ns=status.st_ctime_ns,
        links=status.st_nlink,
        device_number=status.st_rdev if stat.S_IFMT(status.st_mode) in _NODES else 0,
    )


_NODES = (stat.S_IFBLK, stat.S_IFCHR)


def walk(root: bytes) -> Tree:
    """Every name below the root, parents before children; what vanishes meanwhile is left out.

    `root` must show one file system alone (a private mount): mounts are not told from directories.
    Raises OSError.
    """
    status = os.lstat(root)
    found: Tree = {b"": signature_of(status)}
    subvolumes = {status.st_dev: b""}
    waiting = [b""]
    while waiting:
        folder = waiting.pop()
        try:
            entries = list(os.scandir(os.path.join(root, folder) if folder else root))
        except (FileNotFoundError, NotADirectoryError):
            continue
        for entry in entries:
            name = entry.name
            path = folder + b"/" + name if folder else name
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            found[path] = signature_of(status, subvolumes.setdefault(status.st_dev, path))
            if stat.S_ISDIR(status.st_mode):
                waiting.append(path)
    return found


def now_ns() -> int:
    """The clock that change times are taken from."""
    return time.time_ns()


def differences(source: Tree, copy: Tree) -> list[str]:
    """In what a finished copy is not like its source: names, kinds, owners, sizes, times, links.

    Pure. Sizes and link counts of directories, and the sizes of links on file systems that round
    them, are the file system's own affair.
    """
    found = []
    for path in sorted(source.keys() | copy.keys()):
        name = os.fsdecode(path) or "/"
        ours, theirs = source.get(path), copy.get(path)
        if ours is None:
            found.append(f"{name} is not in the source")
        elif theirs is None:
            found.append(f"{name} is missing")
        else:
            found += [f"{name}: {word}" for word in _differences(ours, theirs)]
    return found


def _differences(ours: Signature, theirs: Signature) -> list[str]:
    words = []
    if ours.mode != theirs.mode:
        words.append(f"mode {theirs.mode:o} instead of {ours.mode:o}")
    if (ours.user, ours.group) != (theirs.user, theirs.group):
        words.append("another owner")
    if ours.modified_ns != theirs.modified_ns:
        words.append("another time of modification")
    if ours.device_number != theirs.device_number:
        words.append("another device number")
    if ours.kind != stat.S_IFDIR:
        if ours.links != theirs.links:
            words.append(f"{theirs.links} names instead of {ours.links}")
        if ours.size_bytes != theirs.size_bytes:
            words.append(f"{theirs.size_bytes} bytes instead of {ours.size_bytes}")
    return words
