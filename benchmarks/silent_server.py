"""`python -m benchmarks.silent_server FILE SIZE_BYTES`: a one-file FUSE server without any I/O.

Every read answers what is in memory. Nothing can be faster over this front end from Python: what it
lacks to the plain loop device is wake-ups and copies, not work.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from holdfast.system import fuse


def serve(connection: int, size_bytes: int) -> None:
    """Answer until the file is unmounted."""
    header = bytearray(fuse.HEADER_BYTES)
    data = memoryview(bytearray(fuse.MAXIMUM_TRANSFER_BYTES + 4096))
    while True:
        try:
            os.readv(connection, [header, data])
        except OSError as error:
            if error.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                continue
            return
        opcode, unique, _, size = fuse.IN_TRANSFER.unpack_from(header)
        if opcode == fuse.READ:
            os.writev(connection, [fuse.OUT_HEADER.pack(16 + size, 0, unique), data[:size]])
        elif opcode == fuse.INIT:
            os.write(connection, fuse.init_reply(unique, memoryview(header)[40:]))
        elif opcode in (fuse.GETATTR, fuse.SETATTR):
            os.write(connection, fuse.attributes_reply(unique, size_bytes))
        elif opcode == fuse.OPEN:
            os.write(connection, fuse.open_reply(unique))
        elif opcode == fuse.STATFS:
            os.write(connection, fuse.statfs_reply(unique, size_bytes))
        elif opcode in (fuse.FLUSH, fuse.FSYNC, fuse.RELEASE):
            os.write(connection, fuse.plain_reply(unique))
        elif opcode not in fuse.NO_REPLY:
            os.write(connection, fuse.error_reply(unique, errno.ENOSYS))


if __name__ == "__main__":
    served = Path(sys.argv[1])
    served.touch()
    device = fuse.open_connection()
    fuse.mount_file(device, served)
    serve(device, int(sys.argv[2]))
