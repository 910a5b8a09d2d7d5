"""FUSE: a file system that consists of one regular file, which a loop device shows as a disk.

The kernel keeps each request until it is answered, and sends those again that were read by a
process that died (Linux 6.9 and later). Invariant: the connection is never cloned, as a clone's
requests die with it. What is neither read, write, flush nor zeroing is answered here.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from holdfast.gate.data.fast_path import UnansweredError, Wire
from holdfast.gate.front.front_end import (
    FLUSH,
    READ,
    WRITE,
    ZERO,
    FrontEnded,
    NoRequest,
    Request,
)
from holdfast.gate.runtime.shared_page import DEVICE_FILE
from holdfast.system.fuse import wire
from holdfast.system.mounts.mount_table import mount_at
from holdfast.system.resources.memory import aligned_buffer

_PAGE = 4096
_ENDED = (errno.ENODEV, errno.ECONNABORTED)
"""What the kernel says of a connection that was unmounted, or aborted (fs/fuse/dev.c)."""
_AGAIN = (errno.EINTR, errno.EAGAIN, errno.ENOENT)
"""ENOENT: the request was interrupted before it was read."""
_ZEROING = wire.FALLOC_PUNCH_HOLE | wire.FALLOC_ZERO_RANGE
_SUPPORTED = wire.FALLOC_KEEP_SIZE | _ZEROING

# Bound once: these are looked up for every request.
_READ, _WRITE, _FSYNC, _RESEND = wire.READ, wire.WRITE, wire.FSYNC, wire.UNIQUE_RESEND
_UNPACK_TRANSFER = wire.IN_TRANSFER.unpack_from
_request = tuple.__new__  # of a NamedTuple, without its own: a third of the time
_NOTHING = memoryview(b"")
_PACK_HEADER, _PACK_WRITTEN = wire.OUT_HEADER.pack, wire.OUT_WRITE.pack


class FuseFile:
    """See FrontEnd for what each method promises."""

    def __init__(self, run_directory: Path, descriptor: int) -> None:
        self.descriptor = descriptor
        self._device = run_directory / DEVICE_FILE
        self._size_bytes: Callable[[], int] | None = None
        self._token = 0
        self._inboxes: list[FuseInbox] = []
        """Ready, and nobody's yet."""

    @classmethod
    def open(cls, run_directory: Path) -> FuseFile:
        """Mount a new connection on the device file."""
        front = cls(run_directory, wire.open_connection())
        front._device.touch(mode=0o600)
        wire.mount_file(front.descriptor, front._device)
        return front

    @classmethod
    def resume(cls, run_directory: Path, descriptor: int) -> FuseFile:
        """By the descriptor of the connection, which lives as long as one process has it."""
        return cls(run_directory, descriptor)

    def device(self) -> Path:
        """The file that a loop device shows."""
        return self._device

    def is_shown(self) -> bool:
        """Asks the mount table."""
        return mount_at(self._device.parent.resolve() / DEVICE_FILE) is not None

    def serve(self, size_bytes: Callable[[], int], token: int) -> None:
        """The token is the file's inode number; the kernel itself goes by the node, always 1."""
        self._size_bytes, self._token = size_bytes, token

    def inbox(self, *, brief: bool = False) -> FuseInbox:
        """With buffers of its own."""
        if self._inboxes and not brief:
            return self._inboxes.pop()
        return FuseInbox(self, brief=brief)

    def prepare(self, inboxes: int) -> None:
        """Their buffers are in memory then."""
        self._inboxes = [FuseInbox(self, brief=False) for _ in range(inboxes)]

    def answer(self, request: Request, data: memoryview | None = None) -> bool:
        """One writev."""
        kind, tag, _, length, *_ = request
        if data is not None:
            return self.send([_PACK_HEADER(16 + length, 0, tag), data])
        if kind == WRITE:
            return self.send([_PACK_WRITTEN(24, 0, tag, length, 0)])
        return self.send([_PACK_HEADER(16, 0, tag)])

    def refuse(self, request: Request) -> bool:
        """EIO."""
        return self.send([wire.error_reply(request.tag, errno.EIO)])

    def send(self, reply: list[bytes | memoryview]) -> bool:
        """Write a reply; False when the kernel has one already."""
        try:
            os.writev(self.descriptor, reply)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return False
            _raise_if_ended(error)
            raise
        return True

    def resend(self) -> None:
        """FUSE_NOTIFY_RESEND."""
        os.write(self.descriptor, wire.NOTIFY_RESEND)

    def resized(self) -> None:
        """The kernel remembers the attributes for ever, unless it is told."""
        wire.attributes_changed(self.descriptor)

    def close(self) -> None:
        """Unmount; the connection ends when nothing has the file open any more."""
        wire.unmount_file(self._device)

    def reply_to_question(self, opcode: int, unique: int, body: bytes) -> bytes | None:
        """The reply to what is neither read, write, flush nor zeroing; None: it needs none."""
        if opcode in wire.NO_REPLY:
            return None
        if self._size_bytes is None:
            return wire.error_reply(unique, errno.EIO)
        size_bytes = self._size_bytes()
        if opcode in (wire.GETATTR, wire.SETATTR):
            return wire.attributes_reply(unique, size_bytes, wire.ATTRIBUTE_SECONDS, self._token)
        if opcode == wire.OPEN:
            return wire.open_reply(unique)
        if opcode in (wire.FLUSH, wire.RELEASE, wire.DESTROY):
            return wire.plain_reply(unique)
        if opcode == wire.STATFS:
            return wire.statfs_reply(unique, size_bytes)
        if opcode == wire.INIT:
            return wire.init_reply(unique, memoryview(body))
        if opcode == wire.LSEEK:
            _, offset, whence, _ = wire.IN_LSEEK.unpack_from(body)
            if offset >= size_bytes:
                return wire.error_reply(unique, errno.ENXIO)
            return wire.lseek_reply(unique, size_bytes if whence == os.SEEK_HOLE else offset)
        if opcode == wire.FALLOCATE:
            _, offset, length, mode, _ = wire.IN_FALLOCATE.unpack_from(body)
            if mode & ~_SUPPORTED or offset + length > size_bytes:
                return wire.error_reply(unique, errno.EOPNOTSUPP)
            return wire.plain_reply(unique)
        return wire.error_reply(unique, errno.ENOSYS)

    def zeroing(self, unique: int, body: bytes) -> Request | None:
        """Discard and write-zeroes of the loop device: hole punching and zeroing of the file.

        None: it asks for neither, or for what is not there.
        """
        _, offset, length, mode, _ = wire.IN_FALLOCATE.unpack_from(body)
        if mode & ~_SUPPORTED or not mode & _ZEROING or self._size_bytes is None:
            return None
        if offset + length > self._size_bytes():
            return None
        keep = bool(mode & wire.FALLOC_ZERO_RANGE)
        return Request(ZERO, unique, offset, length, keep_allocated=keep, resent=unique >= _RESEND)


class FuseInbox:
    """Buffers are present, page-aligned and never shared with a forked child, so that a kill in the
    middle of a transfer cannot turn a request into an error."""

    def __init__(self, front: FuseFile, *, brief: bool) -> None:
        self._front = front
        self._brief = brief
        self._header = memoryview(aligned_buffer(_PAGE))[: wire.HEADER_BYTES]
        self.buffer = memoryview(aligned_buffer(wire.MAXIMUM_TRANSFER_BYTES + _PAGE))
        self._vectors = [self._header, self.buffer]
        self.wire: Wire | None = Wire(front.descriptor, self._header, self.buffer)

    def next(self) -> Request:
        """One readv; questions are answered on the way."""
        while True:
            try:
                length = os.readv(self._front.descriptor, self._vectors)
                if not length:
                    raise OSError(errno.EPIPE, "the connection says nothing")
            except OSError as error:
                self.failed(error)
                self._go_on()
                continue
            request = self.received(length)
            if request is not None:
                return request
            self._go_on()

    def received(self, length: int) -> Request | None:
        """Questions are answered."""
        opcode, unique, offset, size = _UNPACK_TRANSFER(self._header)
        resent = unique >= _RESEND
        if opcode == _READ:
            return _request(Request, (READ, unique, offset, size, _NOTHING, False, resent))
        if opcode == _WRITE:
            view = self.buffer[:size]
            return _request(Request, (WRITE, unique, offset, size, view, False, resent))
        if opcode == _FSYNC:
            return _request(Request, (FLUSH, unique, 0, 0, _NOTHING, False, resent))
        body = bytes(self._header[wire.IN_HEADER.size :])
        body += bytes(self.buffer[: max(0, length - wire.HEADER_BYTES)])
        if opcode == wire.FALLOCATE:
            request = self._front.zeroing(unique, body)
            if request is not None:
                return request
        reply = self._front.reply_to_question(opcode, unique, body)
        if reply is not None:
            self._front.send([reply])
        return None

    def failed(self, error: OSError) -> None:
        """The request was interrupted, or the connection has ended."""
        if error.errno not in _AGAIN or isinstance(error, UnansweredError):
            _raise_if_ended(error)
            raise error

    def _go_on(self) -> None:
        """It was no request. Raises NoRequest where the next one is not to be waited for."""
        if self._brief:
            raise NoRequest


def _raise_if_ended(error: OSError) -> None:
    if error.errno in _ENDED:
        raise FrontEnded from error
