"""Passes descriptors into a stopped process and out of it.

A socket pair is made inside the process, and one end taken from there: so a process that dropped
its privileges, or lives in other namespaces, is served like any other.

Whatever is read from the memory of the process is data from a stranger: its user may write to it.
Invariant: we wait for nothing here, take nothing but a socket on the word of that memory, and send
into it only what the process is to have anyway.
"""

from __future__ import annotations

import array
import errno
import os
import socket
import struct
from collections.abc import Sequence
from typing import Protocol

from holdfast.system.proc import link
from holdfast.system.process import open_thread, take_descriptor

MOST_AT_ONCE = 253
"""SCM_MAX_FD of include/net/scm.h."""

_MSG_CTRUNC = 0x8
_RECEIVE_FLAGS = 0x40000000 | socket.MSG_DONTWAIT
"""MSG_CMSG_CLOEXEC: the message is there already."""
_SOCKET_TYPE = socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC


class CallableProcess(Protocol):
    """A stopped process that makes system calls for us."""

    pid: int

    @property
    def scratch(self) -> int: ...

    def call(self, name: str, *arguments: int, thread_id: int | None = None) -> int: ...
    def read(self, address: int, length: int) -> bytes: ...
    def write(self, address: int, data: bytes) -> None: ...
    def allow_more_descriptors(self) -> bool: ...
    def give_up(self, what: str) -> ProcessLookupError: ...


class Courier:
    """A line into one descriptor table of a stopped process."""

    def __init__(self, target: CallableProcess, thread_id: int | None) -> None:
        self._target = target
        self._thread_id = thread_id
        self.pidfd = open_thread(thread_id or target.pid)
        self.inside: tuple[int, ...] = ()
        """Numbers of the socket pair in the process, from the first time that one is needed."""
        self._socket: socket.socket | None = None

    def _connected(self) -> socket.socket:
        if self._socket is None:
            base, thread_id = self._target.scratch, self._thread_id
            arguments = (socket.AF_UNIX, _SOCKET_TYPE, 0, base)
            try:
                self._target.call("socketpair", *arguments, thread_id=thread_id)
            except OSError as error:
                if error.errno != errno.EMFILE or not self._target.allow_more_descriptors():
                    raise
                self._target.call("socketpair", *arguments, thread_id=thread_id)
            self._socket = self._other_end(struct.unpack("<ii", self._target.read(base, 8)))
        return self._socket

    def _other_end(self, inside: tuple[int, ...]) -> socket.socket:
        """Ours of the pair that the process says it has made. To close a copy of anything but a
        socket might wait for whoever is behind it (close(2))."""
        folder = f"/proc/{self._thread_id or self._target.pid}/fd"
        try:
            if all(link(f"{folder}/{number}").startswith("socket:") for number in inside):
                end = socket.socket(fileno=take_descriptor(self.pidfd, inside[1]))
                if (end.family, end.type) == (socket.AF_UNIX, socket.SOCK_SEQPACKET):
                    self.inside = inside
                    return end
                end.close()
        except OSError as error:
            raise self._target.give_up("make a socket pair") from error
        raise self._target.give_up("make a socket pair")

    def take(self, number: int) -> int:
        """A copy of a descriptor of the process for us; the caller closes it. Raises OSError."""
        return take_descriptor(self.pidfd, number)

    def give(self, descriptors: Sequence[int]) -> list[int]:
        """Numbers of these descriptors of ours inside the process, close-on-exec set.

        Raises OSError EMFILE when the process may not have so many.
        """
        numbers: list[int] = []
        for begin in range(0, len(descriptors), MOST_AT_ONCE):
            numbers += self._give(descriptors[begin : begin + MOST_AT_ONCE])
        return numbers

    def _give(self, descriptors: Sequence[int]) -> list[int]:
        count = len(descriptors)
        ancillary = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
        try:
            self._connected().sendmsg([b"d"], [ancillary], socket.MSG_DONTWAIT)
        except (BlockingIOError, ConnectionError) as error:
            raise self._target.give_up("take descriptors") from error
        base = self._target.scratch
        vector, payload, control = base + 64, base + 96, base + 128
        control_bytes = 16 + (4 * count + 7) // 8 * 8  # struct cmsghdr, then the numbers
        # struct msghdr (64 bits): name, its length, vectors, their number, control, its length
        header = struct.pack("<QQQQQQQ", 0, 0, vector, 1, control, control_bytes, 0)
        self._target.write(base, header.ljust(64, b"\0") + struct.pack("<QQ", payload, 1))
        try:
            self._target.call(
                "recvmsg", self.inside[0], base, _RECEIVE_FLAGS, thread_id=self._thread_id
            )
        except BlockingIOError as error:  # somebody else has taken it out
            raise self._target.give_up("take descriptors") from error
        answer = self._target.read(base, 128 + control_bytes)
        numbers, complete = received_numbers(answer, count)
        if not complete:
            for number in numbers:
                self._target.call("close", number, thread_id=self._thread_id)
            words = "the process may not have so many descriptors"
            raise OSError(errno.EMFILE, words, f"/proc/{self._target.pid}")
        return numbers

    def close(self) -> None:
        """Close both ends inside and ours."""
        try:
            for number in self.inside:
                close_inside(self._target, number, self._thread_id)
        finally:
            self.forget()

    def forget(self) -> None:
        """Close our end only: the process is gone, or another agent goes on."""
        if self._socket is not None:
            self._socket.close()
        os.close(self.pidfd)


def received_numbers(answer: bytes, most: int) -> tuple[list[int], bool]:
    """Which descriptors recvmsg(2) says it received, and whether they are all of so many. Pure.

    `answer`: struct msghdr, and struct cmsghdr with the numbers at 128. They lay in memory that
    others may write: what they say is bounded by what was sent.
    """
    if len(answer) < 144:
        return [], False
    received_bytes, flags = struct.unpack_from("<Qi", answer, 40)
    length = struct.unpack_from("<Q", answer, 128)[0] - 16 if received_bytes >= 16 else 0
    count = min(max(0, length) // 4, most, (len(answer) - 144) // 4)
    numbers = [each for each in struct.unpack_from(f"<{count}i", answer, 144) if each >= 0]
    return numbers, not flags & _MSG_CTRUNC and len(numbers) == most


def close_inside(process: CallableProcess, number: int, thread_id: int | None) -> None:
    """Close a descriptor inside. An error is of what was written to it: it is closed, close(2)."""
    try:
        process.call("close", number, thread_id=thread_id)
    except ProcessLookupError:
        raise
    except OSError:
        pass
