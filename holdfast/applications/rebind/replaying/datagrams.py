"""Connects the datagram sockets again that were connected to one which was made anew.

From outside, on a copy of each, through the file of the new socket: their processes stand still,
and nothing waits in them that connecting again would throw away (see doors).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from functools import partial

from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.opening.requests import OpenResult
from holdfast.applications.rebind.parking.notes import HandleNote, SocketDetails
from holdfast.applications.rebind.parking.stopped_process import Processes, StoppedProcess
from holdfast.applications.rebind.replaying.failures import words_of
from holdfast.errors import HoldfastError
from holdfast.model.handle import HandleKind, HandleOutcome
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.files.bound_socket import file_of

_SECONDS = 5.0
"""As for making a new socket: microseconds where nothing hangs."""

_GONE = OpenResult(None, HandleOutcome.LOST, "nobody has the socket any more that it sends to")


def connect_senders(processes: Processes, made: Mapping[str, OpenResult]) -> list[ReboundHandle]:
    """Connect each to the socket that takes the place of its own, see `NewSockets.made`."""
    made_of = {
        note.handle.start: made[note.details.key]
        for process in processes.values()
        for note in process.notes_of(HandleKind.SOCKET)
        if note.details_as(SocketDetails).type == socket.SOCK_DGRAM and note.details.key in made
    }
    lines = []
    for process in list(processes.values()):
        for note in process.notes_of(HandleKind.SENDER):
            with processes.unless_it_ends(process):
                lines.append(_connected(process, note, made_of.get(note.handle.start, _GONE)))
    return lines


def _connected(process: StoppedProcess, note: HandleNote, to: OpenResult) -> ReboundHandle:
    handle = note.handle
    if to.descriptor is None:
        return ReboundHandle(handle, to.outcome, to.note)
    assert handle.number is not None
    try:
        copy = process.tracee.channel(handle.thread_id).take(handle.number)
        with socket.socket(fileno=copy) as end:
            if os.fstat(copy).st_ino != handle.inode or end.type != socket.SOCK_DGRAM:
                raise process.tracee.give_up("keep its socket")
            in_expendable_child(partial(_connect, end, to.descriptor), _SECONDS, "a new socket")
    except ProcessLookupError:
        raise
    except (OSError, HoldfastError) as error:
        return ReboundHandle(handle, HandleOutcome.LOST, words_of(error, process.in_words))
    return ReboundHandle(handle, HandleOutcome.IDENTICAL)


def _connect(end: socket.socket, to: int) -> None:
    place = file_of(to)
    end.connect(f"/proc/self/fd/{place}")
