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
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from holdfast.applications.rebind.opening.reopening import Reopening
from holdfast.applications.rebind.opening.requests import OpenRequest, OpenResult
from holdfast.applications.rebind.parking.relocation import Relocation
from holdfast.errors import DeadlinePassed, StorageFailed
from holdfast.model.handle import FileLock, HandleOutcome
from holdfast.system.children.expendable import reap

_AT_ONCE = 100
"""Descriptors in one message; the kernel takes 253 (SCM_MAX_FD)."""

_ENDS_MILLISECONDS = 1000
"""How long the killed child is waited for: while it has a file open nobody gets a lease on it."""

_LENGTH = struct.Struct("=I")

_Part = Sequence[OpenRequest]
"""At most so many."""

_Answer = tuple[bool, tuple[HandleOutcome, str, tuple[FileLock, ...], bool]]
"""Whether there is a descriptor, and the rest of an OpenResult: many times quicker to hand over."""


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
        self._opening = Reopening(bases, directory, same_data, relocation)
        self._deadline_ns = deadline_ns
        self._coming: deque[_Part] = deque()
        """What the child opens now, in this order, whose answers nobody has read yet."""
        self._socket, self._inside = socket.socketpair()
        self._child = 0

    def __enter__(self) -> Opener:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._inside.close()
        if self._child:
            with suppress(ProcessLookupError):
                os.kill(self._child, signal.SIGKILL)
            reap(self._child, _ENDS_MILLISECONDS)

    def begin(self, turns: Sequence[Sequence[OpenRequest]]) -> None:
        """Let the child open all of these, one turn after the other, while the caller works.

        Before anything else is asked of it. `open` then takes the turns, in this order.
        """
        for turn in turns:
            self._coming.extend(_parts(turn))
        self._start(list(self._coming))

    def _start(self, parts: Sequence[_Part]) -> None:
        self._child = os.fork()
        if self._child == 0:
            self._socket.close()
            _serve(self._opening, self._inside, parts)
        self._inside.close()

    def open(
        self, requests: Sequence[OpenRequest], then: Sequence[OpenRequest] = ()
    ) -> dict[str, OpenResult]:
        """Open them in this order; by key. The caller closes the descriptors.

        `then`: what the next call asks for; the child begins with it while the caller works. Raises
        DeadlinePassed when the storage does not answer in time, StorageFailed when the child died.
        """
        found: dict[str, OpenResult] = {}
        parts = _parts(requests)
        try:
            for part, following in zip(parts, [*parts[1:], then[:_AT_ONCE]], strict=False):
                self._expect(part)
                found.update(zip((each.key for each in part), self._answer(), strict=True))
                if not self._coming:
                    self._ask(following)
            if not parts and not self._coming:
                self._ask(then[:_AT_ONCE])
        except BaseException:
            close_opened(found.values())
            raise
        return found

    def _expect(self, part: _Part) -> None:
        """Let this be what the child answers next; what it opens before, nobody needs."""
        while self._coming and self._coming[0] != part:
            close_opened(self._answer())
        if not self._coming:
            self._ask(part)

    def _ask(self, part: _Part) -> None:
        """Let the child begin with these. It listens now: it has answered everything else."""
        if not part:
            return
        if not self._child:
            self._start(())
        data = pickle.dumps(part)
        self._socket.settimeout(self._remaining_seconds())
        try:
            self._socket.sendall(_LENGTH.pack(len(data)) + data)
        except TimeoutError as error:
            raise _late() from error
        except OSError as error:
            raise _dead() from error
        self._coming.append(part)

    def _answer(self) -> list[OpenResult]:
        """Wait for the child's answer to the first of what it was asked."""
        self._coming.popleft()
        descriptors = array.array("i")
        data = b""
        length = _LENGTH.size
        while len(data) < length:
            self._socket.settimeout(self._remaining_seconds())
            try:
                part, ancillary, _, _ = self._socket.recvmsg(
                    length - len(data), socket.CMSG_SPACE(4 * _AT_ONCE), socket.MSG_CMSG_CLOEXEC
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
            if len(data) == _LENGTH.size:
                length += _LENGTH.unpack(data)[0]
        numbers = iter(descriptors)
        answers: list[_Answer] = pickle.loads(data[_LENGTH.size :])
        return [
            OpenResult(next(numbers) if is_open else None, *values) for is_open, values in answers
        ]

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


def _parts(requests: Sequence[OpenRequest]) -> list[_Part]:
    return [requests[begin : begin + _AT_ONCE] for begin in range(0, len(requests), _AT_ONCE)]


def _serve(opening: Reopening, channel: socket.socket, parts: Sequence[_Part]) -> None:
    """The child: opens these, then answers until nobody asks any more."""
    status = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        opening.begin()
        for part in parts:
            _open_part(opening, channel, part)
        while True:
            head = _receive(channel, _LENGTH.size)
            _open_part(opening, channel, pickle.loads(_receive(channel, _LENGTH.unpack(head)[0])))
    except EOFError:
        status = 0
    finally:
        os._exit(status)


def _open_part(opening: Reopening, channel: socket.socket, part: _Part) -> None:
    """Open these, and send what came of it."""
    opened = [opening.open(each) for each in part]
    descriptors = [each.descriptor for each in opened if each.descriptor is not None]
    answers: list[_Answer] = [
        (each.descriptor is not None, (each.outcome, each.note, each.lost_locks, each.is_proven))
        for each in opened
    ]
    data = pickle.dumps(answers)
    channel.sendall(_LENGTH.pack(len(data)))  # apart: descriptors come with the first byte of data
    ancillary = []
    if descriptors:
        rights = array.array("i", descriptors)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
    sent = channel.sendmsg([data], ancillary)
    channel.sendall(data[sent:])
    for descriptor in descriptors:
        os.close(descriptor)


def _receive(channel: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        part = channel.recv(length - len(data))
        if not part:
            raise EOFError
        data += part
    return data
