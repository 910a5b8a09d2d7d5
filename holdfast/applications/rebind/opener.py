"""An expendable child that opens everything on the new storage and passes the descriptors.

Invariant: whatever the new storage does, we wait until the deadline at most; then the child is
killed and abandoned. It opens what it is asked for in that order and keeps nothing that could
outlive it.
"""

from __future__ import annotations

import array
import os
import pickle
import signal
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from holdfast.applications.rebind.opening import Opening
from holdfast.applications.rebind.wanted import Opened, Wanted
from holdfast.errors import DeadlinePassed, StorageFailed
from holdfast.system.expendable import reap

_AT_ONCE = 100
"""Descriptors in one message; the kernel takes 253 (SCM_MAX_FD)."""

_LENGTH = struct.Struct("=I")


class Opener:
    """The child. Use as a context; `open` may be called any number of times."""

    def __init__(
        self, bases: Mapping[int, int], directory: Path, deadline_ns: int, *, same_data: bool
    ) -> None:
        self._deadline_ns = deadline_ns
        self._socket, inside = socket.socketpair()
        self._child = os.fork()
        if self._child == 0:
            self._socket.close()
            _serve(Opening(bases, directory, same_data), inside)
        inside.close()

    def __enter__(self) -> Opener:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        with suppress(ProcessLookupError):
            os.kill(self._child, signal.SIGKILL)
        reap(self._child)

    def open(self, wanted: Sequence[Wanted]) -> dict[str, Opened]:
        """Open them in this order; by key. The caller closes the descriptors.

        Raises DeadlinePassed when the storage does not answer in time.
        """
        found: dict[str, Opened] = {}
        for begin in range(0, len(wanted), _AT_ONCE):
            part = wanted[begin : begin + _AT_ONCE]
            data = pickle.dumps(part)
            self._socket.sendall(_LENGTH.pack(len(data)) + data)
            for each, opened in zip(part, self._answer(), strict=True):
                found[each.key] = opened
        return found

    def _answer(self) -> list[Opened]:
        descriptors = array.array("i")
        data = b""
        length = None
        while length is None or len(data) < length + _LENGTH.size:
            remaining = (self._deadline_ns - time.monotonic_ns()) / 1e9
            self._socket.settimeout(max(remaining, 0.001))
            try:
                part, ancillary, _, _ = self._socket.recvmsg(
                    1 << 20, socket.CMSG_SPACE(4 * _AT_ONCE), socket.MSG_CMSG_CLOEXEC
                )
            except TimeoutError as error:
                raise DeadlinePassed(
                    "the new storage does not answer: files on it cannot be opened",
                    "See what it is waiting for, then: holdfast recover.",
                ) from error
            if not part:
                raise StorageFailed("the process that opens files on the new storage has died")
            for _, _, numbers in ancillary:
                descriptors.frombytes(numbers[: len(numbers) // 4 * 4])
            data += part
            if length is None and len(data) >= _LENGTH.size:
                length = _LENGTH.unpack_from(data)[0]
        answers: list[Opened] = pickle.loads(data[_LENGTH.size :])
        remaining_descriptors = iter(descriptors)
        return [
            each
            if each.descriptor is None
            else replace(each, descriptor=next(remaining_descriptors))
            for each in answers
        ]


def _serve(opening: Opening, channel: socket.socket) -> None:
    """The child: answers until nobody asks any more."""
    status = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        while True:
            head = _receive(channel, _LENGTH.size)
            wanted = pickle.loads(_receive(channel, _LENGTH.unpack(head)[0]))
            answers = [opening.open(each) for each in wanted]
            descriptors = [each.descriptor for each in answers if each.descriptor is not None]
            data = pickle.dumps(answers)
            message = _LENGTH.pack(len(data)) + data
            ancillary = []
            if descriptors:
                rights = array.array("i", descriptors)
                ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
            sent = channel.sendmsg([message], ancillary)
            channel.sendall(message[sent:])
            for descriptor in descriptors:
                os.close(descriptor)
    except EOFError:
        status = 0
    finally:
        os._exit(status)


def _receive(channel: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        part = channel.recv(length - len(data))
        if not part:
            raise EOFError
        data += part
    return data
