"""The mount system calls that the C library of older hosts lacks: detached trees, their flags.

Owns the numbers and structures of <linux/mount.h>. Invariant: what `clone_tree` returns is mounted
nowhere until `attach_tree` puts it somewhere, and vanishes with its last descriptor. Must never be
called for storage that may hang by a process that matters: looking a path up may block.
"""

from __future__ import annotations

import ctypes
import errno
import os
from struct import pack

from holdfast.late_dataclass import dataclass
from holdfast.system.raw_call import raw_call

# <asm-generic/unistd.h>; the same on every architecture since Linux 5.1
_OPEN_TREE, _MOVE_MOUNT, _OPENAT2, _MOUNT_SETATTR = 428, 429, 437, 442

# <linux/fcntl.h>
_AT_FDCWD, _AT_EMPTY_PATH, _AT_NO_AUTOMOUNT, _AT_SYMLINK_NOFOLLOW = -100, 0x1000, 0x800, 0x100
_AT_RECURSIVE = 0x8000

# <linux/mount.h>
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
_FROM_EMPTY_PATH, _TO_EMPTY_PATH, _SET_GROUP, _BENEATH = 0x4, 0x40, 0x100, 0x200
_READ_ONLY, _NO_SUID, _NO_DEVICES, _NO_EXECUTION = 0x1, 0x2, 0x4, 0x8
_ACCESS_TIME_MASK, _NO_ACCESS_TIME, _STRICT_ACCESS_TIME = 0x70, 0x10, 0x20
_NO_DIRECTORY_ACCESS_TIME, _NO_SYMBOLIC_LINKS = 0x80, 0x200000

# <linux/openat2.h>
_RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS = 0x02, 0x04

_PROPAGATION = {  # MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED of <linux/mount.h>
    "unbindable": 1 << 17,
    "private": 1 << 18,
    "slave": 1 << 19,
    "shared": 1 << 20,
}

_FLAGS = {
    "ro": _READ_ONLY,
    "nosuid": _NO_SUID,
    "nodev": _NO_DEVICES,
    "noexec": _NO_EXECUTION,
    "noatime": _NO_ACCESS_TIME,
    "nodiratime": _NO_DIRECTORY_ACCESS_TIME,
    "nosymfollow": _NO_SYMBOLIC_LINKS,
}
_ALL_FLAGS = (
    _READ_ONLY | _NO_SUID | _NO_DEVICES | _NO_EXECUTION | _ACCESS_TIME_MASK
    | _NO_DIRECTORY_ACCESS_TIME | _NO_SYMBOLIC_LINKS
)  # fmt: skip

UNREPRODUCIBLE_OPTIONS = frozenset({"idmapped"})
"""Per-mount options that mountinfo shows and that cannot be set from its text."""


@dataclass(frozen=True)
class MountAttributes:
    """What mount_setattr(2) is told, from the words of mountinfo's sixth field."""

    set_flags: int
    clear_flags: int


def attributes_of(options: str) -> MountAttributes:
    """The flags that give a mount exactly these per-mount options (`rw,nosuid,relatime`).

    Without a word on access times the kernel means strictatime: it shows that by silence.
    """
    words = options.split(",")
    flags = 0
    for word in words:
        flags |= _FLAGS.get(word, 0)
    if "noatime" not in words and "relatime" not in words:
        flags |= _STRICT_ACCESS_TIME
    return MountAttributes(flags, _ALL_FLAGS & ~(flags & ~_ACCESS_TIME_MASK))


def clone_tree(descriptor: int, path: str = "") -> int:
    """A detached copy of the mount at the descriptor, rooted at `path` below it; caller closes.

    The copy belongs to the same peer group as the original; mounts below are not copied. The
    original must belong to this process's mount namespace. Raises OSError: ENOENT without such a
    path, EINVAL for an unbindable mount.
    """
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | _AT_NO_AUTOMOUNT
    flags |= _AT_SYMLINK_NOFOLLOW if path else _AT_EMPTY_PATH
    return raw_call(_OPEN_TREE, descriptor, os.fsencode(path), ctypes.c_uint(flags))


def attach_tree(tree: int, place: int) -> None:
    """Mount a detached tree on the directory or file that `place` is open at (O_PATH).

    The place must belong to this process's mount namespace. Propagates as the mount below the
    place does. Raises OSError.
    """
    raw_call(_MOVE_MOUNT, tree, b"", place, b"", ctypes.c_uint(_FROM_EMPTY_PATH | _TO_EMPTY_PATH))


def attach_beneath(tree: int, top: int) -> None:
    """Mount a detached tree below the mount whose root `top` is open at (O_PATH): that one stays in
    sight. Linux 6.5. Raises OSError: EINVAL where the kernel cannot, or not at that mount.

    Propagates as the mount below does.
    """
    flags = _FROM_EMPTY_PATH | _TO_EMPTY_PATH | _BENEATH
    raw_call(_MOVE_MOUNT, tree, b"", top, b"", ctypes.c_uint(flags))


def can_attach_beneath() -> bool:
    """Whether the kernel can at all (Linux 6.5). Mounts nothing: there is nothing to mount."""
    return _knows(_BENEATH)


def _knows(flag: int) -> bool:
    """Whether move_mount(2) has this flag: it refuses others before it looks at descriptors."""
    flags = _FROM_EMPTY_PATH | _TO_EMPTY_PATH | flag
    try:
        raw_call(_MOVE_MOUNT, -1, b"", -1, b"", ctypes.c_uint(flags))
    except OSError as error:
        return error.errno == errno.EBADF
    return False


def join_group(source: int, target: int) -> None:
    """Let the private mount `target` have the peers and the master of the mount `source`.

    Both are roots of mounts of the same file system, in any mount namespace; what `source` shows
    must contain what `target` shows. Linux 5.15. Raises OSError.
    """
    flags = _SET_GROUP | _FROM_EMPTY_PATH | _TO_EMPTY_PATH
    raw_call(_MOVE_MOUNT, source, b"", target, b"", ctypes.c_uint(flags))


def set_attributes(mount: int, attributes: MountAttributes) -> None:
    """Give a mount of this namespace, or a detached one, these options. Linux 5.12."""
    _set(mount, attributes.set_flags, attributes.clear_flags, 0)


def make_all_read_only(top: int) -> None:
    """Let nothing be written through the mount whose root `top` is, nor through any below it.

    For a namespace of our own: all mounts are of it. Device nodes can be written to all the same.
    Linux 5.12. Raises OSError: EBUSY while somebody writes through one of them, and nothing is
    changed.
    """
    _set(top, _READ_ONLY, 0, 0, _AT_RECURSIVE)


def forbid_execution(mount: int, *, forbidden: bool) -> None:
    """Give a mount of this namespace the option `noexec`, or take it. Linux 5.12. Raises OSError:
    EINVAL when it belongs to another namespace."""
    _set(mount, _NO_EXECUTION if forbidden else 0, 0 if forbidden else _NO_EXECUTION, 0)


def set_propagation(mount: int, propagation: str) -> None:
    """Make it shared, slave, private or unbindable, as `mount --make-…` does. Linux 5.12."""
    _set(mount, 0, 0, _PROPAGATION[propagation])


def open_place(path: str, directory: int | None = None) -> int:
    """An O_PATH descriptor of the topmost thing at this path; caller closes.

    Follows no symbolic link anywhere in the path: what another mount namespace's owner may have
    put there cannot lead us elsewhere. Raises OSError (ELOOP for a link).
    """
    how = pack("=QQQ", os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE_NO_MAGICLINKS | _RESOLVE_NO_SYMLINKS)
    start = _AT_FDCWD if directory is None else directory
    return raw_call(_OPENAT2, start, os.fsencode(path), how, ctypes.c_size_t(len(how)))


def _set(mount: int, set_flags: int, clear_flags: int, propagation: int, reach: int = 0) -> None:
    # struct mount_attr: attr_set, attr_clr, propagation, userns_fd
    how = pack("=QQQQ", set_flags, clear_flags, propagation, 0)
    flags = ctypes.c_uint(_AT_EMPTY_PATH | reach)
    raw_call(_MOUNT_SETATTR, mount, b"", flags, how, ctypes.c_size_t(len(how)))
