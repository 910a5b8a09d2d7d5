"""Which system calls that failed because their mount died are made again on the new one. Pure.

Only calls that are known to be about a file: their descriptor must be one of the handles that are
moved, and one with a path must have ended with an error that nothing but a dead file system gives.
Calls on sockets, which know some of these errors too, are never made again.
"""

from __future__ import annotations

import errno
from collections.abc import Collection

_X86_64_BY_DESCRIPTOR = frozenset({
    0, 1, 5, 8, 17, 18, 19, 20, 77, 78, 81, 91, 93, 187, 190, 193, 196, 199, 217, 221, 285, 295,
    296, 327, 328,
})  # fmt: skip
"""read write fstat lseek pread64 pwrite64 readv writev ftruncate getdents fchdir fchmod fchown
readahead fsetxattr fgetxattr flistxattr fremovexattr getdents64 fadvise64 fallocate preadv pwritev
preadv2 pwritev2 (asm/unistd_64.h)."""

_X86_64_FLUSHES = {74: "fsync", 75: "fdatasync", 277: "sync_file_range", 306: "syncfs"}
"""Not made again unless all that was written is known to be there: what they were to make durable
died with the old mount, and on the new one they would say that it is durable."""

_X86_64_BY_PATH = frozenset({
    2, 4, 6, 21, 76, 80, 82, 83, 84, 85, 86, 87, 88, 89, 90, 92, 94, 132, 133, 137, 188, 189, 191,
    192, 194, 195, 197, 198, 235, 257, 258, 259, 260, 261, 262, 263, 264, 265, 266, 267, 268, 269,
    280, 316, 332, 437, 439,
})  # fmt: skip
"""open stat lstat access truncate chdir rename mkdir rmdir creat link unlink symlink readlink chmod
chown lchown utime mknod statfs [gsl]etxattr … utimes openat … utimensat renameat2 statx openat2
faccessat2 (asm/unistd_64.h)."""

_ONLY_OF_DEAD_FILE_SYSTEMS = frozenset(
    {errno.ENOTCONN, errno.ECONNABORTED, errno.ESTALE, errno.ESHUTDOWN}
)


def flush_that_failed(
    call: int, descriptor: int, handles: Collection[int], machine: str = "x86_64"
) -> str:
    """The name of a call that tells the program of lost writes, as it must; empty: none."""
    if machine != "x86_64" or descriptor not in handles:
        return ""
    return _X86_64_FLUSHES.get(call, "")


def is_to_be_made_again(
    call: int,
    error: int,
    descriptor: int,
    handles: Collection[int],
    *,
    written_through: bool = False,
    machine: str = "x86_64",
) -> bool:
    """Whether a call that failed so is made again. `descriptor`: its first argument.

    `written_through`: nothing that was written is lost with the mount, so flushes may be, too.
    """
    if machine != "x86_64":
        return False
    if call in _X86_64_BY_DESCRIPTOR or (written_through and call in _X86_64_FLUSHES):
        return descriptor in handles
    return call in _X86_64_BY_PATH and error in _ONLY_OF_DEAD_FILE_SYSTEMS
