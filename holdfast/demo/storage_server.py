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

from holdfast.system import fuse

BUFFER_BYTES = fuse.MAXIMUM_TRANSFER_BYTES + 8192


class StorageServer:
    """Passes every request on to the image, one after the other."""

    def __init__(self, image: Path, path: Path) -> None:
        self._image = os.open(image, os.O_RDWR | os.O_CLOEXEC)
        self._connection = fuse.open_connection()
        fuse.mount_file(self._connection, path)

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
            _, operation, unique, *_ = fuse.IN_HEADER.unpack_from(buffer)
            if operation in fuse.NO_REPLY:
                continue
            try:
                reply = self._answer(operation, unique, buffer[:length])
            except OSError as error:
                reply = [fuse.error_reply(unique, error.errno or errno.EIO)]
            try:
                os.writev(self._connection, reply)
            except OSError as error:
                if error.errno != errno.ENOENT:  # ENOENT: nobody waits for it any more
                    return

    def _answer(self, operation: int, unique: int, request: memoryview) -> list[bytes]:
        body = request[40:]
        if operation in (fuse.READ, fuse.WRITE):
            *_, offset, size = fuse.IN_TRANSFER.unpack_from(request)
            if operation == fuse.READ:
                found = os.pread(self._image, size, offset)
                return [fuse.OUT_HEADER.pack(16 + len(found), 0, unique), found]
            written = os.pwrite(self._image, request[80 : 80 + size], offset)
            return [fuse.OUT_WRITE.pack(24, 0, unique, written, 0)]
        if operation == fuse.FSYNC:
            os.fdatasync(self._image)
        elif operation == fuse.FALLOCATE:
            _, offset, length, mode, _ = fuse.IN_FALLOCATE.unpack_from(body)
            fuse.fallocate(self._image, mode, offset, length)
        elif operation == fuse.LSEEK:
            _, offset, whence, _ = fuse.IN_LSEEK.unpack_from(body)
            return [fuse.lseek_reply(unique, os.lseek(self._image, offset, whence))]
        elif operation in (fuse.GETATTR, fuse.SETATTR):  # nobody resizes: the volume stays as it is
            return [fuse.attributes_reply(unique, os.fstat(self._image).st_size)]
        elif operation == fuse.OPEN:
            return [fuse.open_reply(unique)]
        elif operation == fuse.STATFS:
            return [fuse.statfs_reply(unique, os.fstat(self._image).st_size)]
        elif operation == fuse.INIT:
            return [fuse.init_reply(unique, body)]
        elif operation not in (fuse.FLUSH, fuse.RELEASE, fuse.DESTROY):
            return [fuse.error_reply(unique, errno.ENOSYS)]
        return [fuse.plain_reply(unique)]


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    server = StorageServer(Path(sys.argv[1]), Path(sys.argv[2]))
    print("serving", flush=True)
    server.run()
