"""Connects the datagram sockets again that were connected to one which was made anew.

From outside, on a copy of each, through the file of the new socket: their processes stand still,
and nothing waits in them that connecting again would throw away (see doors).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from functools import partial

from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.opening.requests import OpenResult
from holdfast.applications.rebind.parking.notes import HandleNote, SocketDetails
from holdfast.applications.rebind.parking.stopped_process import Processes, StoppedProcess
from holdfast.model.handle import Handle, HandleKind, HandleOutcome
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.files.bound_socket import file_of
from holdfast.system.processes.process import close_quietly

_SECONDS = 5.0
"""As for making a new socket: microseconds where nothing hangs."""

_AT_ONCE = 200
"""Descriptors that are ours at the same time."""

_GONE = OpenResult(None, HandleOutcome.LOST, "nobody has the socket any more that it sends to")


def connect_senders(processes: Processes, made: Mapping[str, OpenResult]) -> list[ReboundHandle]:
    """Connect each to the socket that takes the place of its own, see `NewSockets.made`."""
    made_of = {
        note.handle.start: made[note.details.key]
        for process in processes.values()
        for note in process.notes_of(HandleKind.SOCKET)
        if note.details_as(SocketDetails).type == socket.SOCK_DGRAM and note.details.key in made
    }
    notes = [
        (process, note)
        for process in list(processes.values())
        for note in process.notes_of(HandleKind.SENDER)
    ]
    lines: list[ReboundHandle] = []
    for begin in range(0, len(notes), _AT_ONCE):
        lines += _connected(processes, notes[begin : begin + _AT_ONCE], made_of)
    return lines


def _connected(
    processes: Processes,
    notes: Sequence[tuple[StoppedProcess, HandleNote]],
    made_of: Mapping[int, OpenResult],
) -> list[ReboundHandle]:
    """Connect these, in one child: there may be hundreds of processes."""
    lines: list[ReboundHandle] = []
    taken: list[HandleNote] = []
    pairs: list[tuple[socket.socket, int]] = []
    try:
        for process, note in notes:
            to = made_of.get(note.handle.start, _GONE)
            if to.descriptor is None:
                lines.append(ReboundHandle(note.handle, to.outcome, to.note))
                continue
            with processes.unless_it_ends(process):
                end = _taken(process, note.handle)
                if end is None:
                    lines.append(ReboundHandle(note.handle, HandleOutcome.LOST, "it was closed"))
                    continue
                pairs.append((end, to.descriptor))
                taken.append(note)
        words = in_expendable_child(partial(_connect, pairs), _SECONDS, "a new socket")
    finally:
        for end, _ in pairs:
            end.close()
    for note, failed in zip(taken, words, strict=True):
        outcome = HandleOutcome.LOST if failed else HandleOutcome.IDENTICAL
        lines.append(ReboundHandle(note.handle, outcome, failed))
    return lines


def _taken(process: StoppedProcess, handle: Handle) -> socket.socket | None:
    """A copy of it; None: somebody else has closed it. Raises ProcessLookupError when the process
    has ended."""
    assert handle.number is not None
    try:
        copy = process.tracee.channel(handle.thread_id).take(handle.number)
    except ProcessLookupError:
        raise
    except OSError:
        return None
    if os.fstat(copy).st_ino == handle.inode:
        return socket.socket(fileno=copy)
    close_quietly(copy)
    return None


def _connect(pairs: Sequence[tuple[socket.socket, int]]) -> list[str]:
    """Of each why it could not be; empty: it could."""
    words = []
    for end, to in pairs:
        place = file_of(to)
        try:
            end.connect(f"/proc/self/fd/{place}")
            words.append("")
        except OSError as error:
            words.append(error.strerror or str(error))
        finally:
            os.close(place)
    return words
