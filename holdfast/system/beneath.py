"""Opening files below a directory, whatever whoever fills it has put there: openat2(2)."""

from __future__ import annotations

import ctypes
import os
import struct

from holdfast.system.raw_call import raw_call

_OPENAT2 = 437  # <asm-generic/unistd.h>
# <linux/openat2.h>
_NO_MAGIC_LINKS, _NO_SYMBOLIC_LINKS, _BENEATH = 0x02, 0x04, 0x08


def open_beneath(base: int, path: str, flags: int) -> int:
    """Open a path below `base` without following any link; close-on-exec is set.

    An empty path is the base itself, which may be an O_PATH descriptor, of a file as well. Raises
    OSError: ELOOP for a link in the path, EXDEV for a path that leads outside.
    """
    flags |= os.O_CLOEXEC
    if not path:
        if flags & os.O_PATH:
            return os.dup(base)
        return os.open(f"/proc/self/fd/{base}", flags & ~os.O_NOFOLLOW)
    how = struct.pack("=QQQ", flags, 0, _NO_MAGIC_LINKS | _NO_SYMBOLIC_LINKS | _BENEATH)
    size = ctypes.c_size_t(len(how))
    return raw_call(_OPENAT2, base, os.fsencode(path), how, size, about=path)
