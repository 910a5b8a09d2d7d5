"""Requests of Linux AIO that wait until an end of a connection is ready (IOCB_CMD_POLL).

Nobody tells which there are, and no call takes one back without telling the program. Each holds the
old end, and would be told that the connection is over when the other old one is closed. So copies
of both are kept until nobody has a number of either any more; then each is made ready for whatever
such a request may wait for, which ends it with that. To be told once too often that something can
be read or written is what poll(2) says may happen. Invariant: nothing is taken from, or sent
through, an end that a process may still have.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from functools import partial

from holdfast.applications.rebind.handles.rings import has_context
from holdfast.applications.rebind.parking.notes import HandleNote
from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
from holdfast.errors import HoldfastError
from holdfast.system.children.closing import close_elsewhere
from holdfast.system.children.expendable import in_expendable_child

_AT_ONCE_BYTES = 1 << 20
_SECONDS = 5.0
"""For what takes some microseconds for each."""

Holder = tuple[StoppedProcess, int | None, HandleNote]
"""A process, the thread that has a table of its own, and an end in that."""


class WaitedFor:
    """Old ends that may be waited for so, of one exchange. Use as a context: all are closed."""

    def __init__(self, holders: Collection[Holder]) -> None:
        """Take copies, where one of the two processes uses Linux AIO; those that cannot be had are
        left out."""
        self._ends: dict[int, socket.socket] = {}
        """By the number of the socket."""
        self._others: dict[int, int] = {}
        asynchronous = {
            pid: _is_asynchronous(process)
            for pid, process in {each[0].pid: each[0] for each in holders}.items()
        }
        wanted = set[int]()
        for process, _, note in holders:
            if asynchronous[process.pid]:
                wanted |= {note.handle.inode, note.handle.start}
        for process, thread_id, note in holders:
            number = note.handle.inode
            if number in wanted and number not in self._ends:
                with suppress(OSError):
                    self._take(process, thread_id, note)

    def _take(self, process: StoppedProcess, thread_id: int | None, note: HandleNote) -> None:
        copy = process.tracee.channel(thread_id).take(note.handle.number or 0)
        if os.fstat(copy).st_ino != note.handle.inode:  # it was replaced before we came
            os.close(copy)
            return
        self._ends[note.handle.inode] = socket.socket(fileno=copy)
        self._others[note.handle.inode] = note.handle.start

    def __enter__(self) -> WaitedFor:
        return self

    def __exit__(self, *_: object) -> None:
        close_elsewhere(self._ends.values())

    def leave(self, numbers: Iterable[int]) -> None:
        """Somebody has these still: they stay as they are."""
        for number in numbers:
            self._others.pop(number, None)

    def make_ready(self) -> None:
        """Let every end be ready to be read and to be written, once. In a child: with what lies
        unread may go a descriptor that somebody has sent since, whose end may be waited for."""
        ends = [
            self._ends[number] for number, other in self._others.items() if other in self._others
        ]
        if ends:
            with suppress(HoldfastError, OSError):
                in_expendable_child(partial(_make_ready, ends), _SECONDS, "old connections")


def _make_ready(ends: Sequence[socket.socket]) -> None:
    for end in ends:
        _empty(end)
    for end in ends:
        with suppress(OSError):  # it was shut down: it is ready
            end.send(b"\0", socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def _is_asynchronous(process: StoppedProcess) -> bool:
    with suppress(OSError):  # it has ended
        return has_context(process)
    return False


def _empty(end: socket.socket) -> None:
    with suppress(OSError):
        while end.recv(_AT_ONCE_BYTES, socket.MSG_DONTWAIT):
            pass
