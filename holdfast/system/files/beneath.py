"""Reaching files below a directory, whatever whoever fills it has put there: openat2(2).

Owns how a path that strangers can change is walked: from a descriptor, through no link, into no
other mount, however long the path is. Invariant: what is looked at through a descriptor (`O_PATH`)
is what is opened or changed afterwards, whatever its name leads to by then. Must never look a
whole path up by name.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from holdfast.system.raw_call import raw_call

_OPENAT2 = 437  # <asm-generic/unistd.h>
# <linux/openat2.h>
_NO_OTHER_MOUNT, _NO_MAGIC_LINKS, _NO_SYMBOLIC_LINKS, _BENEATH = 0x01, 0x02, 0x04, 0x08
_RESOLVE = _NO_OTHER_MOUNT | _NO_MAGIC_LINKS | _NO_SYMBOLIC_LINKS | _BENEATH
_PATH_BYTES = 4000
"""What is looked up in one call: PATH_MAX of <linux/limits.h> is 4096."""


def open_beneath(base: int, path: str | bytes, flags: int, mode: int = 0) -> int:
    """Open a path below `base` without following any link; close-on-exec is set; caller closes.

    An empty path is the base itself, which may be an O_PATH descriptor, of a file as well. `mode`
    is that of a file which O_CREAT makes. With O_PATH and O_NOFOLLOW a link itself is opened.
    Raises OSError: ELOOP for a link in the path, EXDEV for a path that leads outside or into
    another mount.
    """
    flags |= os.O_CLOEXEC
    name = os.fsencode(path)
    if not name:
        if flags & os.O_PATH:
            return os.dup(base)
        return reopen(base, flags)
    folder = base
    try:
        while len(name) > _PATH_BYTES:
            part, name = _split(name)
            deeper = _open(folder, part, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, 0)
            if folder != base:
                os.close(folder)
            folder = deeper
        return _open(folder, name, flags, mode)
    finally:
        if folder != base:
            os.close(folder)


def reopen(descriptor: int, flags: int) -> int:
    """Open once more what a descriptor leads to, also one that was opened with O_PATH.

    No name is looked up. Caller closes; close-on-exec is set. Raises OSError.
    """
    return os.open(path_to(descriptor), (flags | os.O_CLOEXEC) & ~os.O_NOFOLLOW)


def path_to(descriptor: int) -> str:
    """A path that leads to exactly what the descriptor leads to, be it a link or without a name.

    For calls that take no O_PATH descriptor. Links must be followed, and end there.
    """
    return f"/proc/self/fd/{descriptor}"


def names_in(directory: int) -> list[bytes]:
    """The names in an open directory, as the kernel has them. Raises OSError."""
    return [os.fsencode(name) for name in os.listdir(directory)]


def _split(path: bytes) -> tuple[bytes, bytes]:
    """As many whole names as one call takes, and the rest."""
    end = path.rfind(b"/", 0, _PATH_BYTES)
    if end <= 0:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)
    return path[:end], path[end + 1 :]


def _open(base: int, path: bytes, flags: int, mode: int) -> int:
    how = struct.pack("=QQQ", flags, mode, _RESOLVE)
    size = ctypes.c_size_t(len(how))
    return raw_call(_OPENAT2, base, path, how, size, about=os.fsdecode(path))
