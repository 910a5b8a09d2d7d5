"""The kernel's side of a FUSE connection, played by a test: a socket in the place of /dev/fuse.

It keeps message boundaries as the device does, so everything that the gate reads and writes there
is exactly what a kernel would give and get.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.gate.front.front_end import FrontEnded
from holdfast.gate.front.fuse_file import FuseFile, FuseInbox
from holdfast.system.fuse import wire

_RESEND_CODE = 7
"""FUSE_NOTIFY_RESEND."""


@dataclass
class WireAsked:
    """One request and what became of it."""

    message: bytes
    answered: threading.Event = field(default_factory=threading.Event)
    error: int = 0
    data: bytes = b""

    def result(self, timeout_seconds: float = 20.0) -> bytes:
        """What came with the answer. Raises OSError as the kernel would."""
        assert self.answered.wait(timeout_seconds), "nobody answered"
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        return self.data


class WireKernel:
    """What outlives every process of the gate: requests that nobody has answered."""

    def __init__(self) -> None:
        self.ours, self.gates = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.unanswered: dict[int, WireAsked] = {}
        self._made = 0
        self._lock = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()

    def read(self, offset: int, length: int) -> WireAsked:
        """Ask for a read."""
        return self.ask(wire.READ, struct.pack("<QQIIQII", 0, offset, length, 0, 0, 0, 0))

    def write(self, offset: int, payload: bytes, *, resent: bool = False) -> WireAsked:
        """Ask for a write, `resent`: as for one that nobody has answered."""
        head = struct.pack("<QQIIQII", 0, offset, len(payload), 0, 0, 0, 0)
        return self.ask(wire.WRITE, head + payload, resent=resent)

    def flush(self) -> WireAsked:
        """Ask for an fsync."""
        return self.ask(wire.FSYNC, struct.pack("<QII", 0, 0, 0))

    def zero(self, offset: int, length: int) -> WireAsked:
        """Ask for a discard."""
        mode = wire.FALLOC_PUNCH_HOLE | wire.FALLOC_KEEP_SIZE
        return self.ask(wire.FALLOCATE, struct.pack("<QQQII", 0, offset, length, mode, 0))

    def ask(self, opcode: int, body: bytes, *, resent: bool = False) -> WireAsked:
        """Make a request; does not wait."""
        with self._lock:
            self._made += 2  # the kernel counts by two
            unique = self._made
            length = wire.IN_HEADER.size + len(body)
            shown = unique | wire.UNIQUE_RESEND if resent else unique
            head = wire.IN_HEADER.pack(length, opcode, shown, 1, 0, 0, 1, 0, 0)
            asked = self.unanswered[unique] = WireAsked(head + body)
        self.ours.send(asked.message)
        return asked

    def _listen(self) -> None:
        while reply := self.ours.recv(2 << 20):
            length, error, unique = wire.OUT_HEADER.unpack_from(reply)
            assert length == len(reply), "the kernel refuses a reply of another length"
            if not unique:
                self._send_again(error)
                continue
            asked = self.unanswered.pop(unique & ~wire.UNIQUE_RESEND)
            asked.error, asked.data = -error, reply[wire.OUT_HEADER.size :]
            asked.answered.set()

    def _send_again(self, code: int) -> None:
        assert code == _RESEND_CODE
        for unique, asked in self.unanswered.copy().items():
            message = bytearray(asked.message)
            struct.pack_into("<Q", message, 8, unique | wire.UNIQUE_RESEND)
            self.ours.send(message)


class WireFront(FuseFile):
    """The product's front end, on a socket."""

    def __init__(self, kernel: WireKernel, run_directory: Path) -> None:
        super().__init__(run_directory, os.dup(kernel.gates.fileno()))
        self.kernel = kernel

    def inbox(self, *, brief: bool = False) -> WireInbox:
        """With buffers of its own."""
        return WireInbox(self, brief=brief)

    def send(self, reply: list[bytes | memoryview]) -> bool:
        """A socket that was shut down says so in other words than the device."""
        try:
            return super().send(reply)
        except BrokenPipeError as error:
            raise FrontEnded from error


class WireInbox(FuseInbox):
    """See WireFront."""

    def failed(self, error: OSError) -> None:
        if error.errno == errno.EPIPE:
            raise FrontEnded from error
        super().failed(error)
