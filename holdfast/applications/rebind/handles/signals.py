"""Who is told by a signal that a description is ready, and which: F_SETOWN, F_SETSIG, O_ASYNC."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from holdfast.applications.rebind.opening.requests import OpenedFiles
from holdfast.applications.rebind.parking.notes import FileDetails, HandleNote
from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
from holdfast.model.handle import Handle

# F_GETOWN_EX, F_SETOWN_EX, F_GETSIG, F_SETSIG: asm-generic/fcntl.h
_GET_OWNER, _SET_OWNER, _GET_SIGNAL, _SET_SIGNAL = 16, 15, 11, 10
_OWNER = struct.Struct("=ii")
"""struct f_owner_ex: type, number."""


def owner_and_signal(process: StoppedProcess, handle: Handle, copy: int) -> dict[str, Any]:
    """Fields of FileDetails; none where nobody is told. `copy`: of its descriptor, ours."""
    with suppress(OSError):
        _, owner = _OWNER.unpack(fcntl.fcntl(copy, _GET_OWNER, _OWNER.pack(0, 0)))
        signal = fcntl.fcntl(copy, _GET_SIGNAL)
        if owner or signal:
            return {"owner": _owner(process, handle), "signal": signal}
    return {}


def give_owners(
    process: StoppedProcess, notes: Sequence[HandleNote], openings: OpenedFiles
) -> list[HandleNote]:
    """Give each description its owner and its signal again, once; those that are this process's
    to give."""
    mine = []
    for note in notes:
        key = note.details.key
        if key not in openings.owned:
            openings.owned.add(key)
            mine.append(note)
            if note.details_as(FileDetails).owner is not None:
                _give_owner(process, note)
    return mine


def _owner(process: StoppedProcess, handle: Handle) -> tuple[int, int]:
    """Type and number of who gets its signals, as the process itself counts processes."""
    tracee = process.tracee
    assert handle.number is not None
    tracee.call("fcntl", handle.number, _GET_OWNER, tracee.scratch, thread_id=handle.thread_id)
    kind, number = _OWNER.unpack(tracee.read(tracee.scratch, _OWNER.size))
    return kind, number


def _give_owner(process: StoppedProcess, note: HandleNote) -> None:
    """The process does it: a signal reaches whom that process may send one, never whom root may."""
    tracee, number, thread_id = process.tracee, note.handle.number, note.handle.thread_id
    assert number is not None
    details = note.details_as(FileDetails)
    assert details.owner is not None
    kind, owner = details.owner
    for command, argument in ((_SET_OWNER, tracee.scratch), (_SET_SIGNAL, details.signal)):
        if command == _SET_OWNER:
            if not owner:
                continue
            tracee.write(tracee.scratch, _OWNER.pack(kind, owner))
        try:
            tracee.call("fcntl", number, command, argument, thread_id=thread_id)
        except ProcessLookupError:
            raise
        except OSError:  # who was to be told is gone
            continue


def tell_by_signal(process: StoppedProcess, note: HandleNote, settable: int) -> None:
    """Set O_ASYNC again, where it was; signals name this descriptor. Raises OSError.

    `settable`: the other flags that F_SETFL sets.
    """
    if note.handle.flags & os.O_ASYNC and note.handle.number is not None:
        flags = note.handle.flags & settable | os.O_ASYNC
        process.tracee.call(
            "fcntl", note.handle.number, fcntl.F_SETFL, flags, thread_id=note.handle.thread_id
        )
