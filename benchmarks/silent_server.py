"""`python -m benchmarks.silent_server FILE SIZE_BYTES`: a one-file FUSE server without any I/O.

Every read answers what is in memory. Nothing can be faster over this front end from Python: what it
lacks to the plain loop device is wake-ups and copies, not work.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from holdfast.system.fuse import wire


def serve(connection: int, size_bytes: int) -> None:
    """Answer until the file is unmounted."""
    header = bytearray(wire.HEADER_BYTES)
    data = memoryview(bytearray(wire.MAXIMUM_TRANSFER_BYTES + 4096))
    while True:
        try:
            os.readv(connection, [header, data])
        except OSError as error:
            if error.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                continue
            return
        opcode, unique, _, size = wire.IN_TRANSFER.unpack_from(header)
        if opcode == wire.READ:
            os.writev(connection, [wire.OUT_HEADER.pack(16 + size, 0, unique), data[:size]])
        elif opcode == wire.INIT:
            os.write(connection, wire.init_reply(unique, memoryview(header)[40:]))
        elif opcode in (wire.GETATTR, wire.SETATTR):
            os.write(connection, wire.attributes_reply(unique, size_bytes))
        elif opcode == wire.OPEN:
            os.write(connection, wire.open_reply(unique))
        elif opcode == wire.STATFS:
            os.write(connection, wire.statfs_reply(unique, size_bytes))
        elif opcode in (wire.FLUSH, wire.FSYNC, wire.RELEASE):
            os.write(connection, wire.plain_reply(unique))
        elif opcode not in wire.NO_REPLY:
            os.write(connection, wire.error_reply(unique, errno.ENOSYS))


if __name__ == "__main__":
    served = Path(sys.argv[1])
    served.touch()
    device = wire.open_connection()
    wire.mount_file(device, served)
    serve(device, int(sys.argv[2]))
