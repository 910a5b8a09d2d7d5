"""What a file tree consists of, and how it is known that a file was not touched since.

A signature is taken *before* the file system is synced and the file is read. The sync makes its
pages clean, so that the next store through a memory map goes through a fault, which sets the change
time: whatever changes a file after its signature changes the signature. A change time so young
that a later change could get the same one (clock granularity) counts as changed (`is_settled`).
Never follows symbolic links, never leaves the file system that it was given, opens no file.
"""

# Paths are bytes here, as the kernel has them.

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection
from contextlib import ExitStack

from holdfast.errors import Blocked
from holdfast.late_dataclass import dataclass
from holdfast.restoration.copying.trees.folders import Folders
from holdfast.system.files.beneath import names_in, open_beneath
from holdfast.system.files.change_times import is_settled
from holdfast.system.files.subvolume import subvolume_of

GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ESTALE})
"""What a path says that leads to something else since it was found."""

_PATH_BYTES = 1 << 15
"""Eight times what a program can use as a path; each name of the tree is kept with its own."""
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NOATIME


Inode = tuple[bytes, int]
"""The subvolume (btrfs; empty: the root's), and the number in it: stays what it is when the file
system is mounted anew, as st_dev does not."""


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
        return is_settled(self.changed_ns, now_ns)


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


@dataclass
class Walked:
    """What was found below a root, and what its device numbers stand for."""

    tree: Tree
    subvolumes: dict[int, bytes]
    """By st_dev: the subvolume, as in `Inode`."""

    def is_same(self, status: os.stat_result, signature: Signature) -> bool:
        """Whether this is the inode that was walked, whatever else may have changed in it."""
        subvolume = self.subvolumes.get(status.st_dev)
        kind = stat.S_IFMT(status.st_mode)
        return ((subvolume, status.st_ino), kind) == (signature.inode, signature.kind)

    def signature_of(self, status: os.stat_result) -> Signature:
        """The signature by which it would have been found."""
        return signature_of(status, self.subvolumes[status.st_dev])


def walk(folders: Folders) -> Walked:
    """Every name below the root, parents before children; what vanishes meanwhile is left out.

    The root must show one file system alone (a private mount): mounts are not told from
    directories. Access times are left as they are. Raises OSError, Blocked for a path that is too
    long.
    """
    status = os.fstat(folders.root)
    walked = Walked({b"": signature_of(status)}, {status.st_dev: b""})
    waiting = [b""]
    while waiting:
        folder = waiting.pop()
        if len(folder) > _PATH_BYTES:
            raise Blocked(
                f"a path has more than {_PATH_BYTES} bytes: {os.fsdecode(folder[:100])}…",
                "Move that directory further up, or delete it: nothing can use such a path.",
            )
        with ExitStack() as stack:
            try:
                descriptor = stack.enter_context(folders.opened(folder, _FOLDER_FLAGS))
            except OSError as error:
                if error.errno in GONE:
                    continue
                raise
            _list(descriptor, folder, walked, waiting)
    return walked


def _list(descriptor: int, folder: bytes, walked: Walked, waiting: list[bytes]) -> None:
    """Add what lies in one directory; nothing when it is not the one that was found."""
    if not walked.is_same(os.fstat(descriptor), walked.tree[folder]):
        return
    for name in names_in(descriptor):
        path = folder + b"/" + name if folder else name
        try:
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        except FileNotFoundError:
            continue
        if status.st_dev not in walked.subvolumes:
            walked.subvolumes[status.st_dev] = _subvolume(descriptor, name, path)
        walked.tree[path] = walked.signature_of(status)
        if stat.S_ISDIR(status.st_mode):
            waiting.append(path)


def _subvolume(folder: int, name: bytes, path: bytes) -> bytes:
    """What stands for a part of the file system that has a device of its own.

    On btrfs the number that it keeps when it is renamed; elsewhere (overlay) the first path there.
    """
    try:
        descriptor = open_beneath(folder, name, _FOLDER_FLAGS)
    except OSError:
        return path
    try:
        return b"/%d" % subvolume_of(descriptor)
    except OSError:
        return path
    finally:
        os.close(descriptor)


def differences(
    source: Tree, copy: Tree, other_times: Collection[bytes] = frozenset()
) -> list[str]:
    """How a finished copy differs from its source: names, kinds, owners, sizes, times, links.

    Pure. `other_times`: paths whose times the copy's file system cannot have. Sizes and link counts
    of directories are the file system's own affair.
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
            words = _differences(ours, theirs, path not in other_times)
            found += [f"{name}: {word}" for word in words]
    return found


def _differences(ours: Signature, theirs: Signature, has_time: bool) -> list[str]:
    words = []
    if ours.mode != theirs.mode:
        words.append(f"mode {theirs.mode:o} instead of {ours.mode:o}")
    if (ours.user, ours.group) != (theirs.user, theirs.group):
        words.append("another owner")
    if has_time and ours.modified_ns != theirs.modified_ns:
        words.append("another time of modification")
    if ours.device_number != theirs.device_number:
        words.append("another device number")
    if ours.kind != stat.S_IFDIR:
        if ours.links != theirs.links:
            words.append(f"{theirs.links} names instead of {ours.links}")
        if ours.size_bytes != theirs.size_bytes:
            words.append(f"{theirs.size_bytes} bytes instead of {ours.size_bytes}")
    return words
