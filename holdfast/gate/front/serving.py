"""Serving threads: read a request from the kernel, carry it out on the mirror, answer.

Two threads read the same descriptor (more were no faster: a wake-up each, and one interpreter). A
thread that hangs inside a leg is given up and a successor carries out its request from the same
bytes. Buffers are present, page-aligned and never shared with a forked child, so that a kill in the
middle of a transfer cannot turn a request into an error.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from time import monotonic_ns
from typing import NoReturn

from holdfast.gate.data.hold import HoldExpired
from holdfast.gate.data.mirror import Mirror
from holdfast.gate.runtime.claims import GivenUp, Hand
from holdfast.gate.runtime.shared_page import (
    BUSY_SINCE,
    DISCARDS,
    ERRORS,
    FLUSHES,
    LATE_REPLIES,
    LONGEST_WAIT,
    READ_BYTES,
    READS,
    RESENT,
    WRITES,
    WRITTEN_BYTES,
    gate_token,
)
from holdfast.system import fuse
from holdfast.system.memory import aligned_buffer

SERVING_THREADS = 2
_PAGE = 4096
_UNMOUNTED = (errno.ENODEV, errno.ECONNABORTED)
"""What the kernel says of a connection that was unmounted, or aborted (fs/fuse/dev.c)."""

# Bound once: these are looked up for every request.
_READ, _WRITE, _FSYNC, _RESEND = fuse.READ, fuse.WRITE, fuse.FSYNC, fuse.UNIQUE_RESEND
_UNPACK_TRANSFER = fuse.IN_TRANSFER.unpack_from
_PACK_HEADER, _PACK_WRITTEN = fuse.OUT_HEADER.pack, fuse.OUT_WRITE.pack


class Server:
    """What all serving threads of a worker share."""

    def __init__(self, connection: int, mirror: Mirror, end: Callable[[], NoReturn]) -> None:
        self.connection = connection
        self.mirror = mirror
        self.end = end
        """Ends the worker because of a defect: the next one gets the request in hand again."""
        self.stopped = threading.Event()
        self.threads: dict[int, ServingThread] = {}
        mirror.places.relieve = self.relieve

    def start(self) -> None:
        """Start serving."""
        for _ in range(SERVING_THREADS):
            self.add_thread(None)

    def add_thread(self, predecessor: ServingThread | None) -> None:
        """One more thread; with a predecessor, it first carries out what that one has in hand."""
        thread = ServingThread(self, self.mirror.hands.take(), predecessor)
        self.threads[thread.hand.slot] = thread
        thread.start()

    def relieve(self, hand: Hand) -> None:
        """The hand's thread will wait for long, with its request: another one serves meanwhile."""
        thread = self.threads.get(hand.slot)
        if thread is not None and not thread.relieved:
            thread.relieved = True
            self.add_thread(None)

    def replace(self, hand: Hand) -> None:
        """The hand was given up; if it was one of ours, another thread takes its request."""
        thread = self.threads.pop(hand.slot, None)
        if thread is not None:
            self.add_thread(thread)

    def connection_ended(self, error: OSError) -> None:
        """The device was unmounted, or the connection aborted: nothing more will come.

        Any other error is not the end of the gate but of this worker.
        """
        if error.errno not in _UNMOUNTED:
            raise error
        self.stopped.set()
        self.mirror.wake()


class ServingThread(threading.Thread):
    """One thread, its hand and its buffers."""

    def __init__(self, server: Server, hand: Hand, predecessor: ServingThread | None) -> None:
        super().__init__(name=f"serve-{hand.slot}", daemon=True)
        self.server = server
        self.hand = hand
        hand.serving = True
        self.working = False
        self.relieved = False
        """Another thread has taken its place: it ends with the request that it has."""
        header = memoryview(aligned_buffer(_PAGE))
        self.header = header[: fuse.HEADER_BYTES]
        self.data = memoryview(aligned_buffer(fuse.MAXIMUM_TRANSFER_BYTES + _PAGE))
        self.payload = self.data
        """What the request in hand writes: the buffer of whoever read it, however often it was
        given up since."""
        self.predecessor = predecessor

    def run(self) -> None:
        try:
            if self.predecessor is not None:
                self._take_over(self.predecessor)
            self._serve()
        except GivenUp:
            pass  # a successor has the request, its leg was failed with a receipt: this only ends
        except BaseException:
            self.server.end()
        finally:
            self.server.threads.pop(self.hand.slot, None)
            self.server.mirror.hands.put_back(self.hand)

    def _take_over(self, predecessor: ServingThread) -> None:
        """Carry out a request whose thread hangs. Its bytes are only read: storage may too."""
        self.header[:] = predecessor.header
        self.hand.cells[BUSY_SINCE] = predecessor.busy_since
        self.busy_since = predecessor.busy_since
        opcode = fuse.IN_HEADER.unpack_from(self.header)[1]
        self.length = predecessor.length
        if opcode == fuse.WRITE:
            self.payload = predecessor.payload
        elif opcode != fuse.READ:
            self.data[:_PAGE] = predecessor.data[:_PAGE]
        self.predecessor = None
        self.working = True
        self._answer(self.length, self.payload)
        self.payload = self.data
        self.working = False
        self.hand.cells[BUSY_SINCE] = 0

    def _serve(self) -> None:
        """Read and answer until the connection ends."""
        connection, vectors = self.server.connection, [self.header, self.data]
        hold = self.server.mirror.hold
        cells = self.hand.cells
        readv = os.readv
        while not self.relieved:
            try:
                length = readv(connection, vectors)
            except OSError as error:
                if error.errno in (errno.EINTR, errno.EAGAIN, errno.ENOENT):
                    continue  # ENOENT: the request was interrupted before it was read
                self.server.connection_ended(error)
                return
            self.busy_since = cells[BUSY_SINCE] = monotonic_ns()
            self.working = True
            while hold.administrative:
                self.working = False
                hold.wait_for_release()
                self.working = True
            self.length = length
            self._answer(length, self.data)
            self.working = False
            cells[BUSY_SINCE] = 0

    busy_since = 0
    length = 0

    def _answer(self, length: int, data: memoryview) -> None:
        """Carry out the request in the header buffer and reply to it."""
        opcode, unique, offset, size = _UNPACK_TRANSFER(self.header)
        hand, mirror = self.hand, self.server.mirror
        cells = hand.cells
        failed = False
        reply: list[bytes | memoryview]
        try:
            if opcode == _READ:
                view = data[:size]
                mirror.read(hand, view, offset)
                reply = [_PACK_HEADER(16 + size, 0, unique), view]
                cells[READS] += 1
                cells[READ_BYTES] += size
            elif opcode == _WRITE:
                mirror.write(hand, data[:size], offset)
                reply = [_PACK_WRITTEN(24, 0, unique, size, 0)]
                cells[WRITES] += 1
                cells[WRITTEN_BYTES] += size
            elif opcode == _FSYNC:
                mirror.flush(hand)
                reply = [fuse.plain_reply(unique)]
                cells[FLUSHES] += 1
            elif opcode in fuse.NO_REPLY:
                return
            else:
                reply = [self._other(opcode, unique, length, data)]
        except HoldExpired:
            failed = True
            reply = [fuse.error_reply(unique, errno.EIO)]
            cells[ERRORS] += 1
        try:
            os.writev(self.server.connection, reply)
        except OSError as error:
            if error.errno != errno.ENOENT:  # ENOENT: the kernel has this answer already
                self.server.connection_ended(error)
                return
            cells[LATE_REPLIES] += 1
        waited = monotonic_ns() - self.busy_since
        if waited > cells[LONGEST_WAIT]:
            cells[LONGEST_WAIT] = waited
        resent = bool(unique & _RESEND)
        if resent:
            cells[RESENT] += 1
        if mirror.incidents.open:
            mirror.incidents.answered(self.busy_since, waited, failed=failed, resent=resent)

    def _other(self, opcode: int, unique: int, length: int, data: memoryview) -> bytes:
        """Everything that is neither read, write nor flush."""
        size_bytes = self.server.mirror.size_bytes
        body = bytes(self.header[40:]) + bytes(data[: max(0, length - fuse.HEADER_BYTES)])
        if opcode == fuse.FALLOCATE:
            _, offset, extent, mode, _ = fuse.IN_FALLOCATE.unpack_from(body)
            return self._fallocate(unique, offset, extent, mode)
        if opcode in (fuse.GETATTR, fuse.SETATTR):
            inode = gate_token(self.server.mirror.cells)
            return fuse.attributes_reply(unique, size_bytes, fuse.ATTRIBUTE_SECONDS, inode)
        if opcode == fuse.OPEN:
            return fuse.open_reply(unique)
        if opcode in (fuse.FLUSH, fuse.RELEASE, fuse.DESTROY):
            return fuse.plain_reply(unique)
        if opcode == fuse.STATFS:
            return fuse.statfs_reply(unique, size_bytes)
        if opcode == fuse.INIT:
            return fuse.init_reply(unique, memoryview(body))
        if opcode == fuse.LSEEK:
            _, offset, whence, _ = fuse.IN_LSEEK.unpack_from(body)
            if offset >= size_bytes:
                return fuse.error_reply(unique, errno.ENXIO)
            return fuse.lseek_reply(unique, size_bytes if whence == os.SEEK_HOLE else offset)
        return fuse.error_reply(unique, errno.ENOSYS)

    def _fallocate(self, unique: int, offset: int, length: int, mode: int) -> bytes:
        """Discard and write-zeroes of the loop device, as hole punching and zeroing of the file."""
        hand, mirror = self.hand, self.server.mirror
        supported = fuse.FALLOC_KEEP_SIZE | fuse.FALLOC_PUNCH_HOLE | fuse.FALLOC_ZERO_RANGE
        zeroes = mode & (fuse.FALLOC_PUNCH_HOLE | fuse.FALLOC_ZERO_RANGE)
        if mode & ~supported or offset + length > mirror.size_bytes:
            return fuse.error_reply(unique, errno.EOPNOTSUPP)
        if zeroes:
            keep = bool(mode & fuse.FALLOC_ZERO_RANGE)
            mirror.zero(hand, offset, length, keep_allocated=keep)
        hand.cells[DISCARDS] += 1
        return fuse.plain_reply(unique)
