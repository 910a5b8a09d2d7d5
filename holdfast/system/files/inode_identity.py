"""What an inode is called by its own file system, whatever its names are: name_to_handle_at(2).

An identity is text: the type of the kernel's file handle and its bytes. Invariant: two inodes of
one file system never have the same one, not even one after the other (numbers are used again,
generations are not). It says nothing where `LASTING` does not have the type of file system: there
it ends with the mount. Asks no storage: what is encoded is in the kernel's memory.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from holdfast.system.files.beneath import reopen

LASTING = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs"})
"""Types whose handles are the same after a dismount: number and generation lie on storage."""

_AT_FDCWD, _AT_SYMLINK_FOLLOW, _AT_EMPTY_PATH = -100, 0x400, 0x1000  # <linux/fcntl.h>
_MOST_BYTES = 128
"""MAX_HANDLE_SZ of <linux/exportfs.h>."""
_MOST_KIND = (1 << 31) - 1
_HEAD = struct.Struct("=Ii")
"""struct file_handle: how many bytes follow, their type."""

# enum fid_type of <linux/exportfs.h>; fs/xfs/xfs_export.h; fs/btrfs/export.h
_NUMBER_32, _NUMBER_64, _BTRFS = 0x01, 0x81, 0x4D
_NUMBERED = {
    _NUMBER_32: struct.Struct("=II"),
    _NUMBER_64: struct.Struct("=QI"),
    _BTRFS: struct.Struct("=QQI"),
}
"""Number, then what else tells inodes apart. XFS uses either of the first two, as its mount options
say, for the same inode."""

_LIBC = ctypes.CDLL(None, use_errno=True)


def identity_of(place: str | int) -> str:
    """The identity of what a path (links followed) or a descriptor (also O_PATH) leads to.

    Empty where the file system gives none. Raises OSError when there is nothing; resolving a path
    may block.
    """
    directory, path, flags = (
        (_AT_FDCWD, os.fsencode(place), _AT_SYMLINK_FOLLOW)
        if isinstance(place, str)
        else (place, b"", _AT_EMPTY_PATH)
    )
    buffer = ctypes.create_string_buffer(_HEAD.pack(_MOST_BYTES, 0), _HEAD.size + _MOST_BYTES)
    mount = ctypes.c_int()
    if _LIBC.name_to_handle_at(directory, path, buffer, ctypes.byref(mount), flags) != 0:
        number = ctypes.get_errno()
        if number in (errno.EOPNOTSUPP, errno.EOVERFLOW):
            return ""
        raise OSError(number, os.strerror(number), place if isinstance(place, str) else None)
    length, kind = _HEAD.unpack_from(buffer)
    return identity_from(kind, buffer.raw[_HEAD.size : _HEAD.size + length])


def identity_from(kind: int, handle: bytes) -> str:
    """The identity that a file handle is, as fdinfo prints those of watches. Empty: none."""
    return f"{kind:x}:{handle.hex()}" if handle else ""


def is_same(one: str, other: str) -> bool:
    """Whether both name one inode of one file system; never, when one is empty. Pure."""
    return bool(one and other) and (one == other or _told_apart_by(one) == _told_apart_by(other))


def number_of(identity: str) -> int | None:
    """The inode's number, where the identity tells it. Pure."""
    told = _told_apart_by(identity)
    return told[0] if isinstance(told[0], int) else None


def open_identity(mount: int, identity: str) -> int:
    """Open (O_PATH) the inode on the file system of a mount that is open there; caller closes.

    `mount` is no O_PATH descriptor. Needs CAP_DAC_READ_SEARCH. Raises OSError, ESTALE when there
    is no such inode any more. Asks the storage.
    """
    kind, handle = _parts(identity)
    data = _HEAD.pack(len(handle), kind) + handle
    found = int(_LIBC.open_by_handle_at(mount, data, os.O_PATH | os.O_CLOEXEC))
    if found < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return found


def open_through(base: int, descriptor: int) -> int:
    """Open (O_PATH) through another mount of its file system, whose root is `base`, what a
    descriptor leads to; caller closes. Raises OSError, also where it is no mount of that."""
    mount = reopen(base, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return open_identity(mount, identity_of(descriptor))
    finally:
        os.close(mount)


def check(identity: str) -> None:
    """Raises ValueError when a text that was read is no identity; empty is one: it is not told."""
    if not identity:
        return
    kind, handle = _parts(identity)
    if not 0 <= kind <= _MOST_KIND or len(handle) > _MOST_BYTES:
        raise ValueError(f"{identity[:80]!r} is no identity of an inode")


def _parts(identity: str) -> tuple[int, bytes]:
    kind, _, data = identity.partition(":")
    return int(kind, 16), bytes.fromhex(data)


def _told_apart_by(identity: str) -> tuple[int | str, ...]:
    if not identity:
        return ("",)
    kind, handle = _parts(identity)
    form = _NUMBERED.get(kind)
    if form is None or len(handle) < form.size:
        return (identity,)
    return tuple(form.unpack_from(handle))
