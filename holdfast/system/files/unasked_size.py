"""How large a file is, of which its file system says nothing any more: `size_of_held`.

XFS that has shut itself down refuses fstat(2), lseek(2) and read(2); what it has in memory stays,
the size included. Locks of records are kept by the kernel beside the file system, and one may be
asked for from the end of the file on: where it begins, the file ends.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

_LOCK = struct.Struct("@hhqqi4x")
"""struct flock of <asm-generic/fcntl.h> on 64 bits: type, whence, start, length, process."""
_AFTER_THE_END = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_END, 0, 1, 0)


def size_of_held(descriptor: int) -> int:
    """The size in bytes of a file that is open for writing. Does not block, asks no file system
    that leaves locks to the kernel, and leaves nothing behind.

    This process must have no lock of the file, and no other thread that locks it. Raises OSError
    EAGAIN where somebody has locked what would come behind its end.
    """
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLK, _AFTER_THE_END)
    except BlockingIOError as error:
        raise OSError(errno.EAGAIN, "somebody has its end locked") from error
    try:
        # The lock of this process is another's to whoever asks for his description alone.
        answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _AFTER_THE_END)
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETLK, _LOCK.pack(fcntl.F_UNLCK, os.SEEK_SET, 0, 0, 0))
    kind, whence, start, length, _ = _LOCK.unpack(answer)
    if (kind, whence, length) != (fcntl.F_WRLCK, os.SEEK_SET, 1):
        raise OSError(errno.EIO, "its size is not known")
    return int(start)
