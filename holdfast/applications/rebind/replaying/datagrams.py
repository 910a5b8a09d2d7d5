"""Connects the datagram sockets again that were connected to one which was made anew, and those
that were made anew to what their old ones were connected to.

From outside, on a copy of each, through the file of the new socket: their processes stand still,
and nothing waits in them that connecting again would throw away (see doors).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial

from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.opening.requests import OpenResult
from holdfast.applications.rebind.parking.notes import HandleNote, SocketDetails
from holdfast.applications.rebind.parking.stopped_process import Processes, StoppedProcess
from holdfast.model.handle import Handle, HandleKind, HandleOutcome
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.children.expendable_batch import ask_each
from holdfast.system.files.bound_socket import file_of
from holdfast.system.processes.process import close_quietly

_SECONDS = 5.0
"""As for making a new socket: microseconds where nothing hangs."""

_AT_ONCE = 200
"""Descriptors that are ours at the same time."""

_DIRECTIONS = {1: socket.SHUT_RD, 2: socket.SHUT_WR, 3: socket.SHUT_RDWR}
"""Of shutdown(2), by what sock_diag(7) says was called."""

_GONE = OpenResult(None, HandleOutcome.LOST, "nobody has the socket any more that it sends to")


def connect_senders(processes: Processes, made: Mapping[str, OpenResult]) -> list[ReboundHandle]:
    """Connect each to the socket that takes the place of its own, see `NewSockets.made`."""
    made_of = {note.handle.start: made[key] for key, note in _sockets(processes, made).items()}
    notes = [
        (process, note)
        for process in list(processes.values())
        for note in process.notes_of(HandleKind.SENDER)
    ]
    lines: list[ReboundHandle] = []
    for begin in range(0, len(notes), _AT_ONCE):
        lines += _connected(processes, notes[begin : begin + _AT_ONCE], made_of)
    return lines


def connect_again(processes: Processes, made: Mapping[str, OpenResult]) -> dict[str, str]:
    """Connect the new sockets whose old ones were connected themselves, and shut them down as those
    were; after `connect_senders`. Of those that could not be, why, by key."""
    failed: dict[str, str] = {}
    sockets = _sockets(processes, made)
    made_of = {note.handle.start: made[key].descriptor for key, note in sockets.items()}
    new = {key: note for key, note in sockets.items() if made[key].descriptor is not None}
    keys = [key for key, note in new.items() if note.handle.end]
    for begin in range(0, len(keys), _AT_ONCE):
        with ExitStack() as stack:
            pairs: dict[str, tuple[socket.socket, int]] = {}
            for key in keys[begin : begin + _AT_ONCE]:
                number = new[key].handle.end
                to = made_of.get(number)
                if to is None:
                    to = _of_sender(processes, number, stack)
                if to is None:
                    failed[key] = "nobody has the socket any more that it was connected to"
                else:
                    pairs[key] = stack.enter_context(_opened(made[key])), to
            # One by one: what they were connected to may lie on storage that hangs.
            words = ask_each(_connect_one, list(pairs.values()), item_seconds=1, budget_seconds=5)
            for key, why in zip(pairs, words, strict=True):
                if why != "":
                    failed[key] = f"not connected any more: {why or 'that does not answer'}"
    for key, note in new.items():
        if note.handle.offset in _DIRECTIONS:
            try:
                with _opened(made[key]) as end:
                    end.shutdown(_DIRECTIONS[note.handle.offset])
            except OSError as error:
                failed[key] = f"not shut down any more: {error.strerror}"
    return failed


def _sockets(processes: Processes, made: Mapping[str, OpenResult]) -> dict[str, HandleNote]:
    """Of each datagram socket that was made anew a note, by key."""
    return {
        note.details.key: note
        for process in processes.values()
        for note in process.notes_of(HandleKind.SOCKET)
        if note.details_as(SocketDetails).type == socket.SOCK_DGRAM and note.details.key in made
    }


def _opened(result: OpenResult) -> socket.socket:
    assert result.descriptor is not None
    return socket.socket(fileno=os.dup(result.descriptor))


def _of_sender(processes: Processes, number: int, stack: ExitStack) -> int | None:
    """A copy of the socket of that number; None: nobody who stands has it."""
    for process in list(processes.values()):
        for note in process.notes_of(HandleKind.SENDER):
            if note.handle.inode == number:
                with processes.unless_it_ends(process):
                    end = _taken(process, note.handle)
                    if end is not None:
                        return stack.enter_context(end).fileno()
    return None


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
    return [_connect_one(each) for each in pairs]


def _connect_one(pair: tuple[socket.socket, int]) -> str:
    """Why it could not be; empty: it could."""
    end, to = pair
    try:
        place = file_of(to)
    except FileNotFoundError:
        place = -1
    try:
        if place >= 0:
            end.connect(f"/proc/self/fd/{place}")
        else:
            with socket.socket(fileno=os.dup(to)) as other:
                end.connect(other.getsockname())  # an abstract name, of this network namespace
        return ""
    except OSError as error:
        return error.strerror or str(error)
    finally:
        if place >= 0:
            os.close(place)
