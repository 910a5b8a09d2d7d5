"""Files that the target's file system cannot hold: they are refused before anything is copied.

The file system itself is asked for its largest file and its free inodes. It does not say how many
names a file may have, nor how long a symbolic link may be: the table has that. The questions leave
nothing behind.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat

from holdfast.errors import Blocked, HoldfastError, TooSmall
from holdfast.late_dataclass import dataclass
from holdfast.model.size import format_size
from holdfast.restoration.copying.trees.tree import Tree
from holdfast.system.messages.printable import printable


@dataclass(frozen=True)
class Limits:
    """What one type of file system can hold."""

    names_of_a_file: int
    bytes_of_a_link: int
    """0: a block, less one."""


LIMITS = {
    "ext4": Limits(65_000, 0),  # EXT4_LINK_MAX, fs/ext4/ext4.h; ext4_symlink()
    "xfs": Limits((1 << 31) - 1, 1023),  # XFS_MAXLINK, XFS_SYMLINK_MAXLEN, xfs_format.h
    "btrfs": Limits(65_535, 4095),  # BTRFS_LINK_MAX, fs/btrfs/btrfs_inode.h; PATH_MAX
}
_MEND = "Use another type of file system (--fs), or change that file first."


def check_limits(wanted: Tree, target: int, filesystem: str) -> None:
    """Raise Blocked or TooSmall for what cannot be copied to the file system at `target` (O_PATH
    of its root), naming the first such file."""
    limits = LIMITS.get(filesystem)
    largest = max(wanted, key=lambda path: _file_bytes(wanted, path))
    size_bytes = _file_bytes(wanted, largest)
    if size_bytes and not _takes(target, size_bytes):
        raise _refused(largest, f"a file of {format_size(size_bytes)}", filesystem)
    if limits is not None:
        most_bytes = limits.bytes_of_a_link or os.fstatvfs(target).f_bsize - 1
        _check_each(wanted, limits.names_of_a_file, most_bytes, filesystem)
    _check_inodes(wanted, target)


def _check_each(wanted: Tree, most_names: int, most_bytes: int, filesystem: str) -> None:
    for path, each in wanted.items():
        if each.kind == stat.S_IFLNK and each.size_bytes > most_bytes:
            raise _refused(path, f"a symbolic link of {each.size_bytes} bytes", filesystem)
        if each.kind != stat.S_IFDIR and each.links > most_names:
            raise _refused(path, f"a file with {each.links} names", filesystem)


def _check_inodes(wanted: Tree, target: int) -> None:
    has = os.fstatvfs(target).f_files  # 0: as many as there is room for
    needs = len({(each.inode, each.kind) for each in wanted.values()})
    if has and needs > has:
        raise TooSmall(
            f"there are {needs} files, the new file system has room for {has} (inodes)",
            "Use a larger container, or another type of file system: --fs xfs, --fs btrfs.",
        )


def _file_bytes(wanted: Tree, path: bytes) -> int:
    return wanted[path].size_bytes if wanted[path].kind == stat.S_IFREG else 0


def _takes(target: int, size_bytes: int) -> bool:
    """Whether a file can be so large: tried with a file that has no name."""
    name = b".holdfast-%s" % secrets.token_hex(16).encode()
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(name, flags, 0o600, dir_fd=target)
    try:
        os.unlink(name, dir_fd=target)
        os.ftruncate(descriptor, size_bytes)
    except OSError as error:
        if error.errno in (errno.EFBIG, errno.EINVAL):
            return False
        raise
    finally:
        os.close(descriptor)
    return True


def _refused(path: bytes, what: str, filesystem: str) -> HoldfastError:
    name = printable(os.fsdecode(path))
    return Blocked(
        f"{name} is {what}: the new {filesystem or 'file system'} holds none such", _MEND
    )
