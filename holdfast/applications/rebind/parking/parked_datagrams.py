"""What waits in the datagram sockets that are parked: it goes along, and nothing comes in between.

It belongs to the old socket, and who sends by name need not use the volume. So when all users wait
in their harbours, whatever becomes of us, and before the socket is taken from them, its queue is
filled with empty datagrams of a sender of ours. From then on nobody's finds room: who may wait
waits, and looks the name up again when the socket is gone. What was there before is looked at,
written down, and sent again to the new socket before anybody can reach that. Invariant: what is
written down is whole, for nobody takes anything out of a full socket that stands; so whoever comes
after a death does not look again, unless it is another socket by now.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from holdfast.applications.rebind.parking.kept_contents import claim
from holdfast.applications.rebind.parking.notes import HandleNote, SocketDetails
from holdfast.applications.rebind.parking.stopped_process import Processes, StoppedProcess
from holdfast.errors import HoldfastError
from holdfast.model.bounded import HalfWord, Number, SignedHalf, Word, read_object, typed
from holdfast.model.handle import HandleKind
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.files.datagrams import (
    Datagram,
    close_descriptors,
    fill,
    send_again,
    waiting_in,
)
from holdfast.system.processes.process import close_quietly

_SECONDS = 5.0
"""For one socket: milliseconds where nothing hangs."""
_PREFIX = "datagrams-"
_SENDER = "datagrams-sender"


@dataclass(frozen=True)
class _Line:
    """What is written of one; its bytes come after all of these."""

    size_bytes: Number
    sender: str
    credentials: tuple[SignedHalf, HalfWord, HalfWord] | None
    descriptors: Number
    """How many were sent with it: those live only as long as we do."""


@dataclass(frozen=True)
class _Head:
    socket: Word
    """The number of the socket in which they waited."""
    is_closed: bool
    """Whether nobody else's could come any more."""
    lines: tuple[_Line, ...]


@dataclass(frozen=True)
class _Queue:
    """What waited in one socket."""

    socket: int
    is_closed: bool
    datagrams: tuple[Datagram, ...]
    are_bare: bool = False
    """Whether descriptors that were sent with them are gone."""


class ParkedDatagrams:
    """Those of one move. `keep`, then `send_again` as often as need be; `close` in the end."""

    def __init__(self, directory: Path) -> None:
        """`directory`: of the record."""
        self._directory = directory
        self._queues: dict[str, _Queue] = {}
        self._sender = b""

    def keep(self, processes: Processes) -> None:
        """Let nothing more come to the datagram sockets of these, who wait in their harbours, and
        write down what waits there. Sockets that are parked already are left as they are.

        Raises OSError only where nothing could be looked at; then nothing is changed.
        """
        looked_at: set[str] = set()
        for key, process, note in _holders(processes):
            if key not in looked_at:
                end = _unparked(process, note)
                if end is not None:
                    looked_at.add(key)
                    with end:
                        self._keep(key, end)

    def send_again(self, key: str, end: socket.socket) -> list[str]:
        """Send what waited in the old socket to the new one, which nobody else can reach yet, and
        which has no SO_PASSCRED yet; what is not as it was. Raises HoldfastError, OSError."""
        queue = self._queue(key)
        if queue is None:
            return []
        words = ["what came in the last instant may be lost"] if not queue.is_closed else []
        if queue.are_bare:
            words.append("descriptors that were sent with datagrams are lost")
        if queue.datagrams:
            work = partial(send_again, end, queue.datagrams)
            told = in_expendable_child(work, _SECONDS, "a new socket")
            words += [f"a datagram that waited: {each}" for each in dict.fromkeys(told) if each]
        return words

    def close(self) -> None:
        """Close the descriptors that were sent with datagrams. Idempotent."""
        while self._queues:
            close_descriptors(self._queues.popitem()[1].datagrams)

    def _keep(self, key: str, end: socket.socket) -> None:
        number = os.fstat(end.fileno()).st_ino
        known = self._queue(key)
        if known is not None and known.socket == number:
            return
        if known is not None:
            close_descriptors(known.datagrams)
        is_closed = False
        with suppress(OSError, HoldfastError):
            work = partial(fill, end, self._own_name())
            is_closed = in_expendable_child(work, _SECONDS, "a socket's file system")
        found = waiting_in(end)
        ours = self._own_name()
        theirs = tuple(each for each in found if each.sender != ours)
        self._queues[key] = queue = _Queue(number, is_closed, theirs)
        with suppress(OSError):  # without room there they live as long as we do
            self._write(key, queue)

    def _own_name(self) -> bytes:
        """Of the sender that fills queues; the same after a death."""
        if not self._sender:
            path = self._directory / _SENDER
            with suppress(OSError):
                self._sender = path.read_bytes()
            if not self._sender:
                self._sender = b"\0holdfast-" + secrets.token_hex(16).encode()
                path.write_bytes(self._sender)
        return self._sender

    # --- the record -----------------------------------------------------------------------------

    def _write(self, key: str, queue: _Queue) -> None:
        lines = [
            {
                "size_bytes": len(each.data),
                "sender": each.sender.hex(),
                "credentials": each.credentials,
                "descriptors": len(each.descriptors),
            }
            for each in queue.datagrams
        ]
        head = {"socket": queue.socket, "is_closed": queue.is_closed, "lines": lines}
        data = b"".join([json.dumps(head).encode(), b"\n", *(e.data for e in queue.datagrams)])
        claim(str(self._directory), len(data))
        coming = self._directory / f"new-{_PREFIX}{key}"
        coming.write_bytes(data)
        coming.replace(self._directory / f"{_PREFIX}{key}")

    def _queue(self, key: str) -> _Queue | None:
        if key not in self._queues:
            with suppress(OSError, ValueError):
                self._queues[key] = _read(self._directory / f"{_PREFIX}{key}")
        return self._queues.get(key)


def _read(path: Path) -> _Queue:
    """Raises OSError, ValueError."""
    first, _, data = path.read_bytes().partition(b"\n")
    head = typed(_Head, read_object(first))
    datagrams, begin = [], 0
    for line in head.lines:
        end = begin + line.size_bytes
        datagrams.append(Datagram(data[begin:end], bytes.fromhex(line.sender), line.credentials))
        begin = end
    if begin != len(data):
        raise ValueError("datagrams are missing")
    bare = any(line.descriptors for line in head.lines)
    return _Queue(head.socket, head.is_closed, tuple(datagrams), bare)


def _holders(processes: Processes) -> Iterator[tuple[str, StoppedProcess, HandleNote]]:
    for process in list(processes.values()):
        for note in process.notes_of(HandleKind.SOCKET):
            details = note.details_as(SocketDetails)
            if details.type == socket.SOCK_DGRAM:
                yield details.key, process, note


def _unparked(process: StoppedProcess, note: HandleNote) -> socket.socket | None:
    """A copy of the socket, which has its name still; None: it is parked, or has been closed."""
    assert note.handle.number is not None
    try:
        copy = process.tracee.channel(note.handle.thread_id).take(note.handle.number)
    except OSError:
        return None
    try:
        end = socket.socket(fileno=copy)
    except OSError:  # something else has the number
        close_quietly(copy)
        return None
    name = os.fsencode(end.getsockname()) if end.family == socket.AF_UNIX else b""
    if end.type == socket.SOCK_DGRAM and name.hex() == note.details_as(SocketDetails).name:
        return end
    end.close()
    return None
