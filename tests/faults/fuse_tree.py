"""A FUSE file system with one directory of files, whose server can be killed or stopped: FuseTree.

The server runs as `python -m tests.faults.fuse_tree FOLDER MOUNTPOINT` and serves the files of
FOLDER. Protocol: linux/fuse.h, version 7.31. Must never import the code under test.
"""

from __future__ import annotations

import errno
import os
import signal
import stat
import struct
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tests.faults.mounting import MS_NODEV, MS_NOSUID, mount, unmount
from tests.faults.power_cut import wait_until_stopped

_REQUEST = struct.Struct("<IIQQIIIHH")
_ANSWER = struct.Struct("<IiQ")
_ATTRIBUTES = struct.Struct("<QQQQQQIIIIIIIIII")
_LARGEST_BYTES = 128 << 10

LOOKUP, FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS = 1, 2, 3, 4, 14, 15, 16, 17
RELEASE, FSYNC, FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR = 18, 20, 25, 26, 27, 28, 29
UNLINK, FSYNCDIR, CREATE, INTERRUPT, BATCH_FORGET = 10, 30, 35, 36, 42
_FATTR_SIZE, _FATTR_FH = 1 << 3, 1 << 6


class Server:
    """One thread, one request after the other; node 1 is the directory, the others its files."""

    def __init__(self, folder: Path, mountpoint: Path) -> None:
        self.folder = folder
        self.names: list[str] = []
        self.connection = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self.connection},rootmode=40000,user_id=0,group_id=0,allow_other"
        mount("tree", mountpoint, "fuse.tree", options, MS_NOSUID | MS_NODEV)

    def serve(self) -> None:
        while True:
            try:
                request = os.read(self.connection, _LARGEST_BYTES + 8192)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return
                raise
            _, operation, unique, node, *_ = _REQUEST.unpack_from(request)
            if operation in (FORGET, INTERRUPT, BATCH_FORGET):
                continue
            try:
                answer, code = self.answer(operation, node, request[_REQUEST.size :]), 0
            except OSError as error:
                answer, code = b"", -(error.errno or errno.EIO)
            size = _ANSWER.size + len(answer)
            os.write(self.connection, _ANSWER.pack(size, code, unique) + answer)

    def answer(self, operation: int, node: int, body: bytes) -> bytes:
        if operation == INIT:
            fields = (7, 31, _LARGEST_BYTES, 1 << 0 | 1 << 5, 12, 10, _LARGEST_BYTES, 1, 0, 0)
            return struct.pack("<IIIIHHIIHH", *fields) + bytes(28)
        if operation == LOOKUP:
            return self.entry(body.rstrip(b"\0").decode())
        if operation == GETATTR:
            return struct.pack("<QII", 0, 0, 0) + self.attributes(node)
        if operation == SETATTR:
            valid, _, _, size = struct.unpack_from("<IIQQ", body)
            if valid & _FATTR_SIZE:
                os.truncate(self.path(node), size)
            return struct.pack("<QII", 0, 0, 0) + self.attributes(node)
        if operation in (OPEN, OPENDIR):
            return struct.pack("<QII", 0, 0, 0)
        if operation == CREATE:
            flags, mode = struct.unpack_from("<II", body)
            name = body[16:].rstrip(b"\0").decode()
            os.close(os.open(self.folder / name, flags | os.O_CREAT, mode & 0o777))
            return self.entry(name) + struct.pack("<QII", 0, 0, 0)
        if operation == UNLINK:
            (self.folder / body.rstrip(b"\0").decode()).unlink()
            return b""
        if operation == READ:
            _, offset, size = struct.unpack_from("<QQI", body)
            return self.path(node).read_bytes()[offset : offset + size]
        if operation == WRITE:
            _, offset, size = struct.unpack_from("<QQI", body)
            descriptor = os.open(self.path(node), os.O_WRONLY)
            os.pwrite(descriptor, body[40 : 40 + size], offset)
            os.close(descriptor)
            return struct.pack("<II", size, 0)
        if operation == READDIR:
            _, offset, size = struct.unpack_from("<QQI", body)
            return self.listing(offset, size)
        if operation == STATFS:
            return struct.pack("<QQQQQIIII", 1000, 500, 500, 100, 50, 4096, 255, 4096, 0) + bytes(
                24
            )
        if operation in (RELEASE, RELEASEDIR, FLUSH, FSYNC, FSYNCDIR):
            return b""
        raise OSError(errno.ENOSYS, "not served")

    def path(self, node: int) -> Path:
        return self.folder if node == 1 else self.folder / self.names[node - 2]

    def entry(self, name: str) -> bytes:
        (self.folder / name).lstat()
        if name not in self.names:
            self.names.append(name)
        node = self.names.index(name) + 2
        return struct.pack("<QQQQII", node, 0, 0, 0, 0, 0) + self.attributes(node)

    def attributes(self, node: int) -> bytes:
        found = self.path(node).lstat()
        directory = stat.S_ISDIR(found.st_mode)
        times = [int(found.st_atime), int(found.st_mtime), int(found.st_ctime)]
        return _ATTRIBUTES.pack(
            node, found.st_size, found.st_blocks, *times, 0, 0, 0,
            found.st_mode, 2 if directory else 1, 0, 0, 0, 4096, 0,
        )  # fmt: skip

    def listing(self, offset: int, size: int) -> bytes:
        answer = b""
        entries = [".", "..", *sorted(entry.name for entry in self.folder.iterdir())]
        for number, name in enumerate(entries[offset:], offset + 1):
            raw = name.encode()
            record = struct.pack("<QQII", number + 1, number, len(raw), 0) + raw
            record += bytes(-len(record) % 8)
            if len(answer) + len(record) > size:
                break
            answer += record
        return answer


class FuseTree:
    """`with FuseTree(folder, mountpoint) as tree:` … `tree.kill()` or `tree.stop()`."""

    def __init__(
        self,
        folder: Path,
        mountpoint: Path,
        kept: IO[bytes] | None = None,
        *,
        apart: bool = False,
    ) -> None:
        """`kept`: a file that the server has open all the time. `apart`: in a mount namespace of
        its own, and mounted in no other."""
        self.folder = folder
        self.mountpoint = mountpoint
        self.kept = kept
        self.apart = apart

    def __enter__(self) -> Self:
        self.mountpoint.mkdir(exist_ok=True)
        self.server = subprocess.Popen(
            [
                *(["unshare", "--mount"] if self.apart else []),
                sys.executable,
                "-m",
                "tests.faults.fuse_tree",
                str(self.folder),
                str(self.mountpoint),
            ],
            cwd=Path(__file__).parents[2],
            stdin=self.kept,
            stdout=subprocess.PIPE,
        )
        assert self.server.stdout is not None
        assert self.server.stdout.readline() == b"serving\n"
        return self

    def kill(self) -> None:
        """The server ends: every call returns ENOTCONN from now on."""
        self.server.kill()
        self.server.wait()

    def stop(self) -> None:
        """The server hangs."""
        self.server.send_signal(signal.SIGSTOP)
        wait_until_stopped(self.server.pid)

    def resume(self) -> None:
        """It goes on where it was."""
        self.server.send_signal(signal.SIGCONT)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        assert self.server.stdout is not None
        self.server.stdout.close()
        with open("/proc/self/mountinfo") as mounts:
            there = any(
                " - fuse.tree " in line and f" {self.mountpoint} " in line for line in mounts
            )
        if there:
            unmount(self.mountpoint)


def main() -> None:
    server = Server(Path(sys.argv[1]), Path(sys.argv[2]))
    sys.stdout.write("serving\n")
    sys.stdout.flush()
    server.serve()


if __name__ == "__main__":
    main()
