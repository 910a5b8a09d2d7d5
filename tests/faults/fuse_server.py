"""A one-file FUSE file system over an image that misbehaves on command.

Run by FuseLeg as `python -m tests.faults.fuse_server IMAGE MOUNTPOINT`. Commands arrive as JSON
lines on standard input and are answered on standard output, between two requests. One thread: a
request is answered, kept (hang, delay) or failed before the next one is looked at. It ends when
standard input closes, so it never outlives the test. Must never import the code under test.
"""

from __future__ import annotations

import errno
import json
import os
import random
import select
import stat
import struct
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

from tests.faults.mounting import MS_NODEV, MS_NOSUID, mount
from tests.faults.volatile_image import VolatileImage

LARGEST_TRANSFER_BYTES = 1 << 20

_REQUEST = struct.Struct("<IIQQIIIHH")
_ANSWER = struct.Struct("<IiQ")

# Operation numbers of linux/fuse.h.
FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS = 2, 3, 4, 14, 15, 16, 17
RELEASE, FSYNC, FLUSH, INIT, INTERRUPT, DESTROY = 18, 20, 25, 26, 36, 38
BATCH_FORGET, FALLOCATE, LSEEK = 42, 43, 46

UNANSWERED = frozenset({FORGET, INTERRUPT, BATCH_FORGET})
KINDS = {READ: "read", WRITE: "write", FSYNC: "flush", FALLOCATE: "discard"}
KINDS |= {SETATTR: "resize", OPEN: "open"}

# INIT flags: ASYNC_READ, BIG_WRITES, ASYNC_DIO, PARALLEL_DIROPS, MAX_PAGES.
_FLAGS = 1 << 0 | 1 << 5 | 1 << 15 | 1 << 18 | 1 << 22
FATTR_SIZE = 1 << 3
FOPEN_DIRECT_IO = 1
FOPEN_PARALLEL_DIRECT_WRITES = 1 << 6
_NO_FAULT: dict[str, Any] = {"kind": "serve"}


class Server:
    """Answers the kernel as the current fault demands."""

    def __init__(self, image: str, mountpoint: Path, user: int = 0) -> None:
        self.image = VolatileImage(image)
        self.connection = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self.connection},rootmode=100000,user_id={user},group_id=0,allow_other"
        mount("faulty", mountpoint, "fuse.faulty", options, MS_NOSUID | MS_NODEV)
        self.buffer = bytearray(LARGEST_TRANSFER_BYTES + 8192)
        self.fault: dict[str, Any] = {"kind": "serve"}
        self.kept: list[bytes] = []
        self.late: deque[tuple[float, bytes]] = deque()
        """When they are to be served, the first one first."""
        self.counts: dict[str, int] = {}
        self.inputs = b""

    def run(self) -> None:
        """Serve until standard input closes or the file system is unmounted."""
        poller = select.poll()
        poller.register(0, select.POLLIN)
        poller.register(self.connection, select.POLLIN)
        os.write(1, b"{}\n")
        while True:
            ready = dict(poller.poll(self.serve_late()))
            if 0 in ready and not self.take_commands():
                return
            if self.connection in ready:
                try:
                    length = os.readv(self.connection, [self.buffer])
                except OSError as error:
                    if error.errno in (errno.EINTR, errno.EAGAIN, errno.ENOENT):
                        continue
                    return
                self.serve(bytes(memoryview(self.buffer)[:length]))

    def take_commands(self) -> bool:
        """Obey what stands on standard input; False when it was closed."""
        received = os.read(0, 65536)
        if not received:
            return False
        *lines, self.inputs = (self.inputs + received).split(b"\n")
        for line in lines:
            command = json.loads(line)
            answer = self.obey(command)
            os.write(1, json.dumps(answer).encode() + b"\n")
        return True

    def obey(self, command: dict[str, Any]) -> dict[str, Any]:
        """Change the fault; report counts of requests seen so far, and of those kept."""
        kind = command["kind"]
        if kind == "volatile":
            self.image.volatile = bool(command["enabled"])
            if not self.image.volatile:
                self.image.flush()
        elif kind == "lose":
            self.image.lose(lambda: False)
        elif kind == "crash":
            chance = random.Random(command["seed"])
            self.image.lose(lambda: chance.random() < command["survival"])
            os._exit(0)
        elif kind != "counts":
            self.fault = command
            if kind == "serve":
                only = command.get("only", len(self.kept))
                kept, self.kept = self.kept[:only], self.kept[only:]
                self.fault = command.get("kept_as") or command
                for request in kept:
                    self.serve(request)
                self.fault = command.get("then") or command
        return {"counts": self.counts, "kept": len(self.kept), "unflushed": self.image.unflushed}

    def serve_late(self) -> int | None:
        """Serve what was delayed for long enough; milliseconds until the next, None: no next."""
        while self.late:
            due, request = self.late[0]
            left = due - time.monotonic()
            if left > 0 and self.fault["kind"] == "delay":
                return int(left * 1000) + 1
            self.late.popleft()
            self.serve(request, is_late=True)
        return None

    def serve(self, request: bytes, *, is_late: bool = False) -> None:
        """Answer one request, or keep it while this kind of request hangs, or is delayed."""
        _, operation, unique, *_ = _REQUEST.unpack_from(request)
        if operation in UNANSWERED:
            return
        if operation == DESTROY:
            os._exit(0)
        kind = KINDS.get(operation, "other")
        if not is_late:
            self.counts[kind] = self.counts.get(kind, 0) + 1
        fault = self.fault if self.strikes(kind, operation, request) else _NO_FAULT
        if fault["kind"] == "delay" and not is_late:
            self.late.append((time.monotonic() + fault["seconds"], request))
            return
        if fault["kind"] == "hang":
            self.kept.append(request)
            return
        if fault["kind"] == "error":
            self.answer(unique, -int(fault["errno"]))
            return
        try:
            self.answer(unique, 0, self.perform(operation, request, fault["kind"] == "short"))
        except OSError as error:
            self.answer(unique, -(error.errno or errno.EIO))

    def strikes(self, kind: str, operation: int, request: bytes) -> bool:
        """Whether the fault applies: right kind of request, in range, allowance used up."""
        fault = self.fault
        if fault["kind"] == "serve" or kind not in fault["on"]:
            return False
        if operation in (READ, WRITE):
            _, offset, size = struct.unpack_from("<QQI", request, 40)
            start, end = fault.get("range") or (0, 1 << 63)
            if offset + size <= start or offset >= end:
                return False
            allowance = fault.get("allowance_bytes", 0)
            if allowance >= size:
                fault["allowance_bytes"] = allowance - size
                return False
        return True

    def answer(self, unique: int, error: int, payload: bytes = b"") -> None:
        """Write the answer; one that nobody waits for any more (ENOENT) is dropped."""
        try:
            os.writev(self.connection, [_ANSWER.pack(16 + len(payload), error, unique), payload])
        except OSError as failure:
            if failure.errno != errno.ENOENT:
                raise

    def perform(self, operation: int, request: bytes, short: bool) -> bytes:
        """Do what is asked and return the answer's payload. Raises OSError."""
        image = self.image
        if operation == INIT:
            return _init(request)
        if operation == GETATTR:
            return image_attributes(image)
        if operation == SETATTR:
            valid, _, _, size = struct.unpack_from("<IIQQ", request, 40)
            if valid & FATTR_SIZE:
                image.resize(size)
            return image_attributes(image)
        if operation == OPEN:
            return struct.pack("<QII", 0, FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES, 0)
        if operation == READ:
            _, offset, size = struct.unpack_from("<QQI", request, 40)
            return image.read(offset, size // 2 if short else size)
        if operation == WRITE:
            _, offset, size = struct.unpack_from("<QQI", request, 40)
            size = size // 2 if short else size
            image.write(offset, request[80 : 80 + size])
            return struct.pack("<II", size, 0)
        if operation == FSYNC:
            image.flush()
        elif operation == FALLOCATE:
            _, offset, length, mode, _ = struct.unpack_from("<QQQII", request, 40)
            image.allocate(offset, length, mode)
        elif operation == LSEEK:
            _, offset, whence, _ = struct.unpack_from("<QQII", request, 40)
            return struct.pack("<Q", image.seek(offset, whence))
        elif operation == STATFS:
            room = os.statvfs(image.path)
            blocks = (room.f_blocks, room.f_bfree, room.f_bavail, room.f_files, room.f_ffree)
            return struct.pack("<QQQQQIIII24x", *blocks, room.f_bsize, 255, room.f_frsize, 0)
        elif operation not in (RELEASE, FLUSH):
            raise OSError(errno.ENOSYS, "not served")
        return b""


def _init(request: bytes) -> bytes:
    _, _, read_ahead, _ = struct.unpack_from("<IIII", request, 40)
    values = (7, 31, read_ahead, _FLAGS, 64, 48, LARGEST_TRANSFER_BYTES, 1, 256, 0, 0)
    return struct.pack("<IIIIHHIIHHI28x", *values)


def image_attributes(image: VolatileImage) -> bytes:
    """The image's size and blocks as FUSE attributes, never to be cached."""
    facts = image.facts()
    mode = stat.S_IFREG | 0o600
    attributes = struct.pack("<QQQQQQ", 1, facts.st_size, facts.st_blocks, 0, 0, 0)
    return bytes(16) + attributes + struct.pack("<IIIIIIIIII", 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


if __name__ == "__main__":
    Server(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])).run()
    os._exit(0)
