"""One expendable child that opens files on the new storage and passes the descriptors.

It opens what it is asked for in that order. Invariant: it does not outlive whoever began it, and of
what that one has open it has the new mounts only: neither locks nor the other children's ends.
"""

from __future__ import annotations

import array
import os
import pickle
import signal
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import suppress

from holdfast.applications.rebind.opening.reopening import Reopening
from holdfast.applications.rebind.opening.requests import OpenRequest, OpenResult
from holdfast.errors import DeadlinePassed, StorageFailed
from holdfast.model.handle import FileLock, HandleOutcome
from holdfast.system.children.expendable import reap
from holdfast.system.processes.process import close_all_except, fork_bound

_AT_ONCE = 100
"""Descriptors in one message; the kernel takes 253 (SCM_MAX_FD)."""

_ENDS_MILLISECONDS = 1000
"""How long a killed child is waited for: as long as it has a file open, nobody gets a lease on
it."""

_LENGTH = struct.Struct("=I")

Part = Sequence[OpenRequest]
"""What is answered with one message."""

_Answer = tuple[bool, tuple[HandleOutcome, str, tuple[FileLock, ...], bool, str, int | None]] | None
"""Whether there is a descriptor, and the other fields of an OpenResult as plain values, which are
pickled many times faster. None: it is not plain (see Reopening)."""


def parts_of(requests: Sequence[OpenRequest]) -> list[Part]:
    """The requests in parts that can be answered."""
    return [requests[begin : begin + _AT_ONCE] for begin in range(0, len(requests), _AT_ONCE)]


class OpeningChild:
    """The child, from `start` to `kill` and `bury`."""

    def __init__(self, opening: Reopening, deadline_ns: int) -> None:
        self._opening = opening
        self._deadline_ns = deadline_ns
        self._socket, self._inside = socket.socketpair()
        self._pid = 0

    def start(self, parts: Sequence[Part] = ()) -> None:
        """Let it begin with these, in this order; each is to be fetched with `answer`."""
        self._pid = fork_bound()
        if self._pid == 0:
            needed = (*self._opening.bases.values(), *self._opening.pipes.values())
            close_all_except({self._inside.fileno(), *needed})
            _serve(self._opening, self._inside, parts)
        self._inside.close()

    def kill(self) -> None:
        """Let it end, whatever it does. Does not block."""
        self._socket.close()
        self._inside.close()
        if self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    def bury(self) -> None:
        """Wait for its end, for a second at most."""
        if self._pid:
            reap(self._pid, _ENDS_MILLISECONDS)

    def ask(self, part: Part) -> None:
        """Let it begin with these; it must have answered everything else."""
        if not self._pid:
            self.start()
        data = pickle.dumps(part)
        self._socket.settimeout(self._remaining_seconds())
        try:
            self._socket.sendall(_LENGTH.pack(len(data)) + data)
        except TimeoutError as error:
            raise _late() from error
        except OSError as error:
            raise _dead() from error

    def answer(self) -> list[OpenResult | None]:
        """Wait for the answer to the first part that has none yet; the caller closes descriptors.

        None: it was not plain, and nothing was opened. Raises DeadlinePassed, StorageFailed.
        """
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
            None if each is None else OpenResult(next(numbers) if each[0] else None, *each[1])
            for each in answers
        ]

    def _remaining_seconds(self) -> float:
        return max((self._deadline_ns - time.monotonic_ns()) / 1e9, 0.001)


def _late() -> DeadlinePassed:
    return DeadlinePassed(
        "the new storage does not answer: files on it cannot be opened",
        "See what it is waiting for, then: holdfast recover.",
    )


def _dead() -> StorageFailed:
    return StorageFailed("the process that opens files on the new storage has died")


def _serve(opening: Reopening, channel: socket.socket, parts: Sequence[Part]) -> None:
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


def _open_part(opening: Reopening, channel: socket.socket, part: Part) -> None:
    """Open these, and send what came of it. When nothing is asked for, all has been passed on."""
    if not part:
        opening.let_pipes_go()
    open_one = opening.open_plainly if opening.is_plain else opening.open
    opened = [open_one(each) for each in part]
    descriptors = [each.descriptor for each in opened if each and each.descriptor is not None]
    data = pickle.dumps([_answer(each) for each in opened])
    channel.sendall(_LENGTH.pack(len(data)))  # apart: descriptors come with the first byte of data
    ancillary = []
    if descriptors:
        rights = array.array("i", descriptors)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
    sent = channel.sendmsg([data], ancillary)
    channel.sendall(data[sent:])
    for descriptor in descriptors:
        os.close(descriptor)


def _answer(each: OpenResult | None) -> _Answer:
    if each is None:
        return None
    told = each.outcome, each.note, each.lost_locks, each.is_proven
    rest = (*told, each.name, each.replaces)
    return each.descriptor is not None, rest


def _receive(channel: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        part = channel.recv(length - len(data))
        if not part:
            raise EOFError
        data += part
    return data
