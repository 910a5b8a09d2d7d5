"""The kernel side of the gate: a FUSE file system that is one regular file.

Owns the wire format (<linux/fuse.h>, protocol 7.31 and later flags) and the mount itself. The file
system has node id 1 and nothing else. Never clones the descriptor: requests of a clone die with it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from pathlib import Path
from struct import Struct, pack

from holdfast.errors import MissingFuse, MissingRights

_LIBC = ctypes.CDLL(None, use_errno=True)

# <linux/fuse.h>, enum fuse_opcode
FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS, RELEASE = 2, 3, 4, 14, 15, 16, 17, 18
FSYNC, FLUSH, INIT, INTERRUPT, DESTROY = 20, 25, 26, 36, 38
BATCH_FORGET, FALLOCATE, LSEEK = 42, 43, 46
NO_REPLY = frozenset((FORGET, BATCH_FORGET, INTERRUPT))

# struct fuse_in_header: len, opcode, unique, nodeid, uid, gid, pid, total_extlen, padding
IN_HEADER = Struct("<IIQQIIIHH")
# Opcode and unique of the header, offset and size of fuse_read_in and fuse_write_in
IN_TRANSFER = Struct("<4xIQ32xQI")
IN_FALLOCATE = Struct("<QQQII")
IN_LSEEK = Struct("<QQII")
OUT_HEADER = Struct("<IiQ")
OUT_WRITE = Struct("<IiQII")
HEADER_BYTES = 80
"""sizeof(fuse_in_header) + sizeof(fuse_write_in): what precedes the data of a WRITE."""

UNIQUE_RESEND = 1 << 63
"""Set in the identifier of a request that the kernel sends again (FUSE_UNIQUE_RESEND)."""

NOTIFY_RESEND = pack("<IiQ", 16, 7, 0)
"""FUSE_NOTIFY_RESEND, Linux 6.9 and later: send every unanswered request again."""

NOTIFY_ATTRIBUTES_CHANGED = pack("<IiQQqq", 40, 2, 0, 1, -1, 0)
"""FUSE_NOTIFY_INVAL_INODE with a negative offset: the kernel asks for the attributes again."""

ATTRIBUTE_SECONDS = 1 << 30
"""For ever: whoever looks through all loop devices of the host must not wait for a held gate."""

MAXIMUM_TRANSFER_BYTES = 1 << 20
"""FUSE_MAX_MAX_PAGES (256) pages of 4096 bytes."""

FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_ZERO_RANGE = 0x01, 0x02, 0x10  # <linux/falloc.h>

_ASYNC_READ, _BIG_WRITES, _ASYNC_DIO = 1 << 0, 1 << 5, 1 << 15
_PARALLEL_DIROPS, _MAX_PAGES, _INIT_EXT, _HAS_RESEND = 1 << 18, 1 << 22, 1 << 30, 1 << 39
_WANTED = _ASYNC_READ | _BIG_WRITES | _ASYNC_DIO | _PARALLEL_DIROPS | _MAX_PAGES | _INIT_EXT
_FOPEN_DIRECT_IO, _FOPEN_PARALLEL_DIRECT_WRITES = 1 << 0, 1 << 6
_BACKGROUND_REQUESTS = 64
_MS_NOSUID, _MS_NODEV, _MNT_DETACH = 2, 4, 2  # <linux/mount.h>


def open_connection() -> int:
    """A new descriptor of /dev/fuse, non-inheritable over exec. Raises MissingFuse."""
    try:
        return os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise MissingFuse(
            f"/dev/fuse cannot be opened: {error.strerror}", "Load the fuse module (modprobe fuse)."
        ) from error


def mount_file(descriptor: int, path: Path) -> None:
    """Mount the connection on the regular file `path`, which then shows the gate's device."""
    options = (
        f"fd={descriptor},rootmode={stat.S_IFREG:o},user_id=0,group_id=0,"
        "allow_other,default_permissions"
    )
    if _LIBC.mount(
        b"holdfast",
        os.fsencode(path),
        b"fuse.holdfast",
        ctypes.c_ulong(_MS_NOSUID | _MS_NODEV),
        options.encode(),
    ):
        code = ctypes.get_errno()
        kind = MissingRights if code == errno.EPERM else MissingFuse
        raise kind(
            f"the gate's device cannot be mounted on {path}: {os.strerror(code)}",
            "Run holdfast doctor: FUSE mounts need /dev/fuse and root (CAP_SYS_ADMIN).",
        )


def unmount_file(path: Path, *, lazy: bool = False) -> None:
    """Undo `mount_file`; idempotent. Raises OSError EBUSY while the device is in use."""
    if _LIBC.umount2(os.fsencode(path), _MNT_DETACH if lazy else 0):
        code = ctypes.get_errno()
        if code not in (errno.EINVAL, errno.ENOENT):
            raise OSError(code, os.strerror(code), str(path))


def init_reply(unique: int, request: memoryview) -> bytes:
    """Answer INIT: 1 MiB requests, asynchronous direct I/O, no write-back cache."""
    _, minor, read_ahead, offered = Struct("<IIII").unpack_from(request, 0)
    if offered & _INIT_EXT and len(request) >= 20:
        offered |= int.from_bytes(request[16:20], "little") << 32
    flags = (_WANTED | _HAS_RESEND) & offered
    body = pack(
        "<IIIIHHIIHHIIH22x",
        7,
        minor,
        read_ahead,
        flags & 0xFFFFFFFF,
        _BACKGROUND_REQUESTS,
        _BACKGROUND_REQUESTS * 3 // 4,
        MAXIMUM_TRANSFER_BYTES,
        1,
        256,
        0,
        flags >> 32,
        0,
        0,
    )
    return OUT_HEADER.pack(16 + len(body), 0, unique) + body


def attributes_reply(unique: int, size_bytes: int, valid_seconds: int = 0, inode: int = 1) -> bytes:
    """Answer GETATTR and SETATTR: a regular file of that size, which the kernel may remember.

    `inode` is what stat(2) shows; the kernel itself goes by the node, which is always 1.

    Where it does, `attributes_changed` must follow a change of the size.
    """
    body = pack("<QII", valid_seconds, 0, 0) + pack(
        "<QQQQQQIIIIIIIIII",
        *(inode, size_bytes, size_bytes // 512, 0, 0, 0, 0, 0, 0),
        *(stat.S_IFREG | 0o600, 1, 0, 0, 0, 4096, 0),
    )
    return OUT_HEADER.pack(16 + len(body), 0, unique) + body


def attributes_changed(descriptor: int) -> None:
    """Make the kernel ask for the size again. Idempotent. Raises OSError."""
    try:
        os.write(descriptor, NOTIFY_ATTRIBUTES_CHANGED)
    except OSError as error:
        if error.errno != errno.ENOENT:  # ENOENT: it remembers none
            raise


def open_reply(unique: int) -> bytes:
    """Answer OPEN: direct I/O, writes in parallel."""
    flags = _FOPEN_DIRECT_IO | _FOPEN_PARALLEL_DIRECT_WRITES
    return OUT_HEADER.pack(32, 0, unique) + pack("<QII", 0, flags, 0)


def statfs_reply(unique: int, size_bytes: int) -> bytes:
    """Answer STATFS (struct fuse_kstatfs, 80 bytes)."""
    body = pack("<QQQQQIIII24x", size_bytes // 4096, 0, 0, 1, 0, 4096, 255, 4096, 0)
    return OUT_HEADER.pack(16 + len(body), 0, unique) + body


def lseek_reply(unique: int, offset: int) -> bytes:
    """Answer LSEEK."""
    return OUT_HEADER.pack(24, 0, unique) + pack("<Q", offset)


def plain_reply(unique: int) -> bytes:
    """Answer with success and no data."""
    return OUT_HEADER.pack(16, 0, unique)


def error_reply(unique: int, code: int) -> bytes:
    """Answer with an errno."""
    return OUT_HEADER.pack(16, -code, unique)


def fallocate(descriptor: int, mode: int, offset: int, length: int) -> None:
    """fallocate(2) with a mode, which the standard library cannot pass. Raises OSError."""
    function = _LIBC.fallocate
    function.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    if function(descriptor, mode, offset, length):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
