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
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from holdfast.applications.rebind.opening.reopening import Reopening
from holdfast.applications.rebind.opening.requests import OpenRequest, OpenResult
from holdfast.applications.rebind.parking.relocation import Relocation
from holdfast.errors import DeadlinePassed, StorageFailed
from holdfast.system.children.expendable import reap

_AT_ONCE = 100
"""Descriptors in one message; the kernel takes 253 (SCM_MAX_FD)."""

_ENDS_MILLISECONDS = 1000
"""How long the killed child is waited for: while it has a file open nobody gets a lease on it."""

_LENGTH = struct.Struct("=I")


class Opener:
    """The child. Use as a context; `open` may be called any number of times."""

    def __init__(
        self,
        bases: Mapping[int, int],
        directory: Path,
        deadline_ns: int,
        relocation: Relocation,
        *,
        same_data: bool,
    ) -> None:
        self._deadline_ns = deadline_ns
        self._asked: Sequence[OpenRequest] = ()
        """What the child opens now, whose answer nobody has read yet."""
        self._socket, inside = socket.socketpair()
        self._child = os.fork()
        if self._child == 0:
            self._socket.close()
            _serve(Reopening(bases, directory, same_data, relocation), inside)
        inside.close()

    def __enter__(self) -> Opener:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        with suppress(ProcessLookupError):
            os.kill(self._child, signal.SIGKILL)
        reap(self._child, _ENDS_MILLISECONDS)

    def open(
        self, requests: Sequence[OpenRequest], then: Sequence[OpenRequest] = ()
    ) -> dict[str, OpenResult]:
        """Open them in this order; by key. The caller closes the descriptors.

        `then`: what the next call asks for; the child begins with it while the caller works. Raises
        DeadlinePassed when the storage does not answer in time, StorageFailed when the child died.
        """
        found: dict[str, OpenResult] = {}
        parts = [requests[begin : begin + _AT_ONCE] for begin in range(0, len(requests), _AT_ONCE)]
        try:
            for number, part in enumerate(parts):
                if part != self._asked:
                    self._ask(part)
                answers = self._answer()
                found.update(zip((each.key for each in part), answers, strict=True))
                self._ask(parts[number + 1] if number + 1 < len(parts) else then[:_AT_ONCE])
            if not parts:
                self._ask(then[:_AT_ONCE])
        except BaseException:
            close_opened(found.values())
            raise
        return found

    def _ask(self, part: Sequence[OpenRequest]) -> None:
        """Let the child begin with these; what it was asked for before and nobody needs is closed.

        It listens now: it has answered everything else.
        """
        if self._asked:
            close_opened(self._answer())
        if not part:
            return
        data = pickle.dumps(part)
        self._socket.settimeout(self._remaining_seconds())
        try:
            self._socket.sendall(_LENGTH.pack(len(data)) + data)
        except TimeoutError as error:
            raise _late() from error
        except OSError as error:
            raise _dead() from error
        self._asked = part

    def _answer(self) -> list[OpenResult]:
        """Wait for the child's answer to the last question."""
        self._asked = ()
        descriptors = array.array("i")
        data = b""
        length = None
        while length is None or len(data) < length + _LENGTH.size:
            self._socket.settimeout(self._remaining_seconds())
            try:
                part, ancillary, _, _ = self._socket.recvmsg(
                    1 << 20, socket.CMSG_SPACE(4 * _AT_ONCE), socket.MSG_CMSG_CLOEXEC
                )
            except TimeoutError as error:
                raise _late() from error
            except ConnectionResetError as error:
                raise _dead() from error
            if not part:
                raise _dead()
            for _, _, rights in ancillary:
                descriptors.frombytes(rights[: len(rights) // 4 * 4])
            data += part
            if length is None and len(data) >= _LENGTH.size:
                length = _LENGTH.unpack_from(data)[0]
        answers: list[OpenResult] = pickle.loads(data[_LENGTH.size :])
        numbers = iter(descriptors)
        for each in answers:
            if each.descriptor is not None:
                each.descriptor = next(numbers)
        return answers

    def _remaining_seconds(self) -> float:
        return max((self._deadline_ns - time.monotonic_ns()) / 1e9, 0.001)


def close_opened(opened: Iterable[OpenResult]) -> None:
    """Close descriptors that are not needed any more; their outcomes stay."""
    for each in opened:
        if each.descriptor is not None:
            os.close(each.descriptor)
            each.descriptor = None


def _late() -> DeadlinePassed:
    return DeadlinePassed(
        "the new storage does not answer: files on it cannot be opened",
        "See what it is waiting for, then: holdfast recover.",
    )


def _dead() -> StorageFailed:
    return StorageFailed("the process that opens files on the new storage has died")


def _serve(opening: Reopening, channel: socket.socket) -> None:
    """The child: answers until nobody asks any more."""
    status = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        opening.begin()
        while True:
            head = _receive(channel, _LENGTH.size)
            requests = pickle.loads(_receive(channel, _LENGTH.unpack(head)[0]))
            answers = [opening.open(each) for each in requests]
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
