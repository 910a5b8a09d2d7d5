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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from holdfast.applications.rebind.parking.kept_contents import claim
from holdfast.applications.rebind.parking.notes import HandleNote, SocketDetails
from holdfast.applications.rebind.parking.stopped_process import Processes, StoppedProcess
from holdfast.errors import Blocked, HoldfastError
from holdfast.late_dataclass import dataclass
from holdfast.model.bounded import HalfWord, Number, SignedHalf, Word, read_object, typed
from holdfast.model.handle import HandleKind
from holdfast.system.children.closing import close_elsewhere
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.files.datagrams import (
    MOST,
    Datagram,
    fill,
    held_pair,
    send_again,
    usual_length,
    waiting_in,
)
from holdfast.system.processes.process import close_quietly

_SECONDS = 5.0
"""For one socket: milliseconds where nothing hangs."""
_PREFIX = "datagrams-"
_SENDER = "datagrams-sender"


def refuse_too_many_sockets(processes: Iterable[StoppedProcess]) -> None:
    """Raises Blocked when it would take too long to keep datagrams out of all sockets."""
    keys = {key: note for key, _, note in _holders(processes)}
    if len(keys) * (usual_length() + 1) > MOST:
        handle = next(iter(keys.values())).handle
        raise Blocked(
            f"process {handle.pid}: socket {handle.path}: it and {len(keys) - 1} other datagram"
            " sockets of the volume are more than others can be kept out of",
            "Let fewer be open, or fewer datagrams wait (net.unix.max_dgram_qlen).",
        )


@dataclass(frozen=True)
class _Line:
    """What is written of one; its bytes come after all of these."""

    size_bytes: Number
    sender: str
    credentials: tuple[SignedHalf, HalfWord, HalfWord] | None
    descriptors: Number
    """How many were sent with it: those live only as long as we do."""
    is_whole: bool


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

    number: int
    """Of that socket."""
    is_closed: bool
    datagrams: tuple[Datagram, ...]
    held: socket.socket | None = None
    """Where the descriptors are that were sent with them; None: they are gone, or there never were
    any."""


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

        Raises OSError, HoldfastError when they cannot be looked at: they must not be taken from
        their users then.
        """
        ends: dict[str, socket.socket] = {}
        try:
            for key, process, note in _holders(processes.values()):
                end = None if key in ends else _unparked(process, note)
                if end is not None:
                    ends[key] = end
            new = {key: end for key, end in ends.items() if not self._knows(key, end)}
            if new:
                self._look(new, self._fill(list(new.values())))
        finally:
            for end in ends.values():
                end.close()

    def keep_rest(self, processes: Processes) -> None:
        """As `keep`, where parking was not finished; sockets that cannot be looked at lose what
        waits in them, and `send_again` says so."""
        with suppress(OSError, HoldfastError):
            self.keep(processes)

    def send_again(self, key: str, end: socket.socket) -> list[str]:
        """Send what waited in a socket to the new one, which nobody else can reach yet, and which
        has no SO_PASSCRED yet; what is not as it was. Raises OSError."""
        queue = self._queue(key)
        if queue is None:
            return ["datagrams that waited in it are lost"]
        words = ["what came in the last instant may be lost"] if not queue.is_closed else []
        if queue.datagrams:
            work = partial(send_again, end, queue.datagrams, queue.held)
            try:
                told = in_expendable_child(work, _SECONDS, "a new socket")
            except HoldfastError as error:  # nobody else may wait for that
                told = [f"may be lost: {error.message}"]
            words += [f"a datagram that waited: {each}" for each in dict.fromkeys(told) if each]
        return words

    def close(self) -> None:
        """Let the descriptors go that were sent with datagrams. Idempotent."""
        queues = list(self._queues.values())
        self._queues.clear()
        _let_go(queues)

    def _knows(self, key: str, end: socket.socket) -> bool:
        known = self._queue(key)
        return known is not None and known.number == os.fstat(end.fileno()).st_ino

    def _fill(self, ends: Sequence[socket.socket]) -> list[bool]:
        with suppress(OSError, HoldfastError):
            work = partial(fill, ends, self._own_name())
            return in_expendable_child(work, _SECONDS, "a socket's file system")
        return [False for _ in ends]

    def _look(self, ends: Mapping[str, socket.socket], full: Sequence[bool]) -> None:
        """Raises OSError, HoldfastError."""
        pairs = [held_pair() for _ in ends]
        try:
            work = partial(_waiting_in_each, list(ends.values()), [writing for writing, _ in pairs])
            found = in_expendable_child(work, _SECONDS, "a socket")
        except BaseException:
            for _, reading in pairs:
                reading.close()
            raise
        finally:
            for writing, _ in pairs:
                writing.close()
        ours = self._own_name()
        for key, is_full, (_, reading), all_of in zip(ends, full, pairs, found, strict=True):
            theirs = tuple(each for each in all_of if each.sender != ours)
            if key in self._queues:
                _let_go([self._queues[key]])
            number = os.fstat(ends[key].fileno()).st_ino
            queue = _Queue(number, is_full, theirs, reading)
            if not any(each.descriptors for each in theirs):
                reading.close()
                queue = replace(queue, held=None)
            self._queues[key] = queue
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
                "descriptors": each.descriptors,
                "is_whole": each.is_whole,
            }
            for each in queue.datagrams
        ]
        head = {"socket": queue.number, "is_closed": queue.is_closed, "lines": lines}
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
        sender = bytes.fromhex(line.sender)
        each = Datagram(data[begin:end], sender, line.credentials, line.descriptors, line.is_whole)
        datagrams.append(each)
        begin = end
    if begin != len(data):
        raise ValueError("datagrams are missing")
    return _Queue(head.socket, head.is_closed, tuple(datagrams))


def _let_go(queues: Sequence[_Queue]) -> None:
    close_elsewhere([each.held for each in queues if each.held is not None])


def _waiting_in_each(
    ends: Sequence[socket.socket], held: Sequence[socket.socket]
) -> list[list[Datagram]]:
    """In the child; it may not end at once, where closing what was sent along hangs."""
    found = [waiting_in(*each) for each in zip(ends, held, strict=True)]
    for end in ends:
        end.close()
    return found


def _holders(
    processes: Iterable[StoppedProcess],
) -> Iterator[tuple[str, StoppedProcess, HandleNote]]:
    for process in processes:
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
