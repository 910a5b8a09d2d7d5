"""A storage server that can be stopped and killed: one image, shown as one file through FUSE.

It stands for the file server of a data centre. It is honest and knows no faults: what breaks it are
the signals that break any process. Run as `python -m holdfast.demo.storage_server IMAGE PATH`; it
says so on standard output when it serves, and ends when PATH is unmounted.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path

from holdfast.system.fuse import wire

BUFFER_BYTES = wire.MAXIMUM_TRANSFER_BYTES + 8192


class StorageServer:
    """Passes every request on to the image, one after the other."""

    def __init__(self, image: Path, path: Path) -> None:
        self._image = os.open(image, os.O_RDWR | os.O_CLOEXEC)
        self._connection = wire.open_connection()
        wire.mount_file(self._connection, path)

    def run(self) -> None:
        """Serve until the file is unmounted."""
        buffer = memoryview(bytearray(BUFFER_BYTES))
        while True:
            try:
                length = os.readv(self._connection, [buffer])
            except OSError as error:
                if error.errno in (errno.EINTR, errno.EAGAIN, errno.ENOENT):
                    continue  # ENOENT: the request was interrupted before it was read
                return
            _, operation, unique, *_ = wire.IN_HEADER.unpack_from(buffer)
            if operation in wire.NO_REPLY:
                continue
            try:
                reply = self._answer(operation, unique, buffer[:length])
            except OSError as error:
                reply = [wire.error_reply(unique, error.errno or errno.EIO)]
            try:
                os.writev(self._connection, reply)
            except OSError as error:
                if error.errno != errno.ENOENT:  # ENOENT: nobody waits for it any more
                    return

    def _answer(self, operation: int, unique: int, request: memoryview) -> list[bytes]:
        body = request[40:]
        if operation in (wire.READ, wire.WRITE):
            *_, offset, size = wire.IN_TRANSFER.unpack_from(request)
            if operation == wire.READ:
                found = os.pread(self._image, size, offset)
                return [wire.OUT_HEADER.pack(16 + len(found), 0, unique), found]
            written = os.pwrite(self._image, request[80 : 80 + size], offset)
            return [wire.OUT_WRITE.pack(24, 0, unique, written, 0)]
        if operation == wire.FSYNC:
            os.fdatasync(self._image)
        elif operation == wire.FALLOCATE:
            _, offset, length, mode, _ = wire.IN_FALLOCATE.unpack_from(body)
            wire.fallocate(self._image, mode, offset, length)
        elif operation == wire.LSEEK:
            _, offset, whence, _ = wire.IN_LSEEK.unpack_from(body)
            return [wire.lseek_reply(unique, os.lseek(self._image, offset, whence))]
        elif operation in (wire.GETATTR, wire.SETATTR):  # nobody resizes: the volume stays as it is
            return [wire.attributes_reply(unique, os.fstat(self._image).st_size)]
        elif operation == wire.OPEN:
            return [wire.open_reply(unique)]
        elif operation == wire.STATFS:
            return [wire.statfs_reply(unique, os.fstat(self._image).st_size)]
        elif operation == wire.INIT:
            return [wire.init_reply(unique, body)]
        elif operation not in (wire.FLUSH, wire.RELEASE, wire.DESTROY):
            return [wire.error_reply(unique, errno.ENOSYS)]
        return [wire.plain_reply(unique)]


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    server = StorageServer(Path(sys.argv[1]), Path(sys.argv[2]))
    print("serving", flush=True)
    server.run()
