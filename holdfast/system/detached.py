"""File systems that are mounted nowhere: reached by descriptor only, gone with the last user.

Uses the mount interface of <linux/mount.h> (Linux 5.2). Invariant: nothing appears in any mount
table, so the death of whoever made one leaves nothing to be cleaned up.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long

# <asm-generic/unistd.h>; the same on every architecture
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432

# <linux/mount.h>
_FSOPEN_CLOEXEC, _FSMOUNT_CLOEXEC = 1, 1
_SET_FLAG, _SET_STRING, _CREATE = 0, 1, 6
_READ_ONLY, _NO_SUID, _NO_DEVICES = 0x1, 0x2, 0x4


def mount_detached(filesystem: str, options: Mapping[str, str], *, read_only: bool = False) -> int:
    """A descriptor (O_PATH) of the root of a new file system that is attached nowhere.

    The caller closes it; the file system lives on as long as anything of it is open. An option
    with an empty value is a flag. Raises OSError.
    """
    context = _call(_FSOPEN, filesystem.encode(), _FSOPEN_CLOEXEC)
    try:
        for name, value in options.items():
            command = _SET_STRING if value else _SET_FLAG
            _call(_FSCONFIG, context, command, name.encode(), value.encode() or None, 0)
        _call(_FSCONFIG, context, _CREATE, None, None, 0)
        attributes = _NO_SUID | _NO_DEVICES | (_READ_ONLY if read_only else 0)
        return _call(_FSMOUNT, context, _FSMOUNT_CLOEXEC, attributes)
    finally:
        os.close(context)


def _call(number: int, *arguments: object) -> int:
    result = int(_LIBC.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
