"""Mounts that nobody else can see: a file system reached through a descriptor alone.

Owns fsopen(2), fsconfig(2) and fsmount(2) of <linux/mount.h> (Linux 5.2). Invariant: such a mount
is in no mount table and vanishes with the last descriptor of it, so a killed process leaves none.
Must never be used for storage that may hang by a process that matters: all of it may block.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from contextlib import suppress

from holdfast.errors import CommandFailed, InUse
from holdfast.system.loop import SECTOR_BYTES

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long

_OPEN_TREE, _FSOPEN, _FSCONFIG, _FSMOUNT = 428, 430, 431, 432
"""<asm-generic/unistd.h>; the same on every architecture."""
_AT_FDCWD, _OPEN_TREE_CLONE = -100, 1
_CLOEXEC_CONTEXT, _CLOEXEC_MOUNT = 1, 1
_SET_FLAG, _SET_STRING, _CREATE = 0, 1, 6
"""enum fsconfig_command"""
_READ_ONLY_ATTRIBUTE = 1
_COMPLAINT_BYTES = 1024

_CONTROL_GET_FREE, _CONFIGURE, _CLEAR = 0x4C82, 0x4C0A, 0x4C01
"""<linux/loop.h>; LOOP_CONFIGURE is there since Linux 5.8."""
_FLAG_AUTOCLEAR, _FLAG_DIRECT_IO = 4, 16
_LOOP_CONFIG = struct.Struct("=II5Q4I64s64s32s2Q8Q")
"""struct loop_config: fd, block_size, struct loop_info64, reserved."""
_ATTEMPTS = 100


def clone_mount(path: str) -> int:
    """A private view of what is mounted at the path, without the mounts below; caller closes.

    Raises OSError.
    """
    flags = ctypes.c_uint(_OPEN_TREE_CLONE | os.O_CLOEXEC)
    return _call(_OPEN_TREE, _AT_FDCWD, os.fsencode(path), flags)


def mount_privately(
    device: str, filesystem: str, *, read_only: bool = False, options: str = ""
) -> int:
    """Mount a device where only the descriptor that is returned leads to; caller closes.

    `options` are those of the file system, not of the mount. Raises CommandFailed with the kernel's
    words.
    """
    context = -1
    try:
        context = _call(_FSOPEN, os.fsencode(filesystem), ctypes.c_uint(_CLOEXEC_CONTEXT))
        _configure(context, _SET_STRING, "source", device)
        for option in filter(None, options.split(",")):
            key, separator, value = option.partition("=")
            _configure(context, _SET_STRING if separator else _SET_FLAG, key, value or None)
        if read_only:
            _configure(context, _SET_FLAG, "ro", None)
        _call(_FSCONFIG, context, ctypes.c_uint(_CREATE), None, None, 0)
        attributes = ctypes.c_uint(_READ_ONLY_ATTRIBUTE if read_only else 0)
        return _call(_FSMOUNT, context, ctypes.c_uint(_CLOEXEC_MOUNT), attributes)
    except OSError as error:
        words = _complaints(context) or error.strerror or str(error)
        raise CommandFailed(f"{device} cannot be mounted as {filesystem}: {words}") from error
    finally:
        if context >= 0:
            os.close(context)


def attach_private_loop(
    backing_file: str,
    size_bytes: int = 0,
    *,
    offset_bytes: int = 0,
    sector_bytes: int = SECTOR_BYTES,
    read_only: bool = False,
) -> tuple[str, int]:
    """A loop device over `size_bytes` bytes of a file or device (0: all), and its descriptor.

    Direct I/O where the storage allows it. It detaches by itself when the descriptor is closed and
    nothing is mounted from it. Raises OSError, InUse when no loop device can be had.
    """
    access = os.O_RDONLY if read_only else os.O_RDWR
    backing = _open_direct(backing_file, access)
    control = -1
    try:
        control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
        for _ in range(_ATTEMPTS):
            device = f"/dev/loop{fcntl.ioctl(control, _CONTROL_GET_FREE)}"
            loop = os.open(device, access | os.O_CLOEXEC)
            try:
                _configure_loop(loop, backing, (offset_bytes, size_bytes), sector_bytes)
            except OSError as error:
                os.close(loop)
                if error.errno == errno.EBUSY:
                    continue  # somebody was faster
                raise
            return device, loop
    finally:
        os.close(backing)
        if control >= 0:
            os.close(control)
    raise InUse("every free loop device was taken by somebody else", "Try again.")


def _open_direct(path: str, access: int) -> int:
    try:
        return os.open(path, access | os.O_CLOEXEC | os.O_DIRECT)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.open(path, access | os.O_CLOEXEC)


def _configure_loop(loop: int, backing: int, part: tuple[int, int], sector_bytes: int) -> None:
    direct = fcntl.fcntl(backing, fcntl.F_GETFL) & os.O_DIRECT
    flags = _FLAG_AUTOCLEAR | (_FLAG_DIRECT_IO if direct else 0)
    # lo_device, lo_inode, lo_rdevice, lo_offset, lo_sizelimit; number, encrypt type, encrypt key
    # size, flags; file name, crypt name, key; init
    values = (0, 0, 0, *part, 0, 0, 0, flags, b"", b"", b"", 0, 0, *([0] * 8))
    fcntl.ioctl(loop, _CONFIGURE, _LOOP_CONFIG.pack(backing, sector_bytes, *values))


def _configure(context: int, command: int, key: str, value: str | None) -> None:
    text = None if value is None else os.fsencode(value)
    _call(_FSCONFIG, context, ctypes.c_uint(command), os.fsencode(key), text, 0)


def _complaints(context: int) -> str:
    """What the kernel has to say: messages are read from the context, `e ` or `w ` before each."""
    words = []
    with suppress(OSError):
        while context >= 0:
            words.append(os.read(context, _COMPLAINT_BYTES).decode(errors="replace")[2:].strip())
    return "; ".join(words)


def _call(number: int, *arguments: object) -> int:
    result = int(_LIBC.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
