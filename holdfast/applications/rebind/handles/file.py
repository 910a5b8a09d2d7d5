"""Descriptors of regular files: offset, flags, owner, sharing and locks stay as they are.

A file without a name is made again from its contents, without a name. What cannot be kept because
the kernel tells nobody: advice (posix_fadvise(2)), write life time hints (F_SET_RW_HINT).
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from holdfast.applications.rebind.agent.steps import Steps
from holdfast.applications.rebind.handles.base import DescriptorDriver
from holdfast.applications.rebind.handles.process_traits import ProcessTraits
from holdfast.applications.rebind.handles.verdicts import moved, recreated
from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.opening.requests import Expected, OpenedFiles, OpenRequest
from holdfast.applications.rebind.parking.notes import FileDetails, HandleNote
from holdfast.applications.rebind.parking.placeholders import Placeholders, is_placeholder_file
from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
from holdfast.model.handle import Handle, JudgedHandle

# F_GETOWN_EX, F_SETOWN_EX, F_GETSIG, F_SETSIG: asm-generic/fcntl.h
_GET_OWNER, _SET_OWNER, _GET_SIGNAL, _SET_SIGNAL = 16, 15, 11, 10
_OWNER = struct.Struct("=ii")
"""struct f_owner_ex: type, number."""


class FileDriver(DescriptorDriver):
    """Descriptors of regular files."""

    expected = Expected.FILE

    def judge(self, handle: Handle, facts: ProcessTraits) -> JudgedHandle:
        """Movable; a file without a name is made again from its contents."""
        if handle.deleted:
            return recreated(handle, "has no name any more: its contents are carried over")
        return moved(handle, facts)

    def examine(
        self, process: StoppedProcess, handles: Sequence[Handle], directory: Path
    ) -> list[dict[str, Any]]:
        """Find out who gets the signals of this description, and which."""
        return [self._examine(process, handle) for handle in handles]

    def _examine(self, process: StoppedProcess, handle: Handle) -> dict[str, Any]:
        if not process.storage_answers or handle.number is None:
            return {}  # closing our copy could make the storage flush
        copy = process.tracee.channel(handle.thread_id).take(handle.number)
        try:
            with suppress(OSError):
                _, owner = _OWNER.unpack(fcntl.fcntl(copy, _GET_OWNER, _OWNER.pack(0, 0)))
                signal = fcntl.fcntl(copy, _GET_SIGNAL)
                if owner or signal:
                    return {"owner": _owner(process, handle), "signal": signal}
            return {}
        finally:
            os.close(copy)

    def requests(self, note: HandleNote) -> list[OpenRequest]:
        """One request, with the offset; a file without a name is made again from its contents."""
        handle, details = note.handle, note.details
        contents = details.contents if handle.deleted else ""
        return [self._request(note, offset=handle.offset, contents=contents, before=details.before)]

    def rebind(
        self,
        process: StoppedProcess,
        notes: Sequence[HandleNote],
        openings: OpenedFiles,
        directory: Path,
    ) -> Steps[list[ReboundHandle]]:
        """Each description gets its owner and its signal again, once."""
        lines = yield from super().rebind(process, notes, openings, directory)
        for note in notes:
            key = note.details.key
            if key in openings.owned or openings[key].descriptor is None:
                continue
            if note.details_as(FileDetails).owner is not None:
                openings.owned.add(key)
                _give_owner(process, note)
        return lines

    def _placeholder(self, placeholders: Placeholders) -> int:
        return placeholders.file

    def _is_placeholder(self, descriptor: int) -> bool:
        return is_placeholder_file(descriptor)

    def _flags(self, note: HandleNote) -> int:
        return note.handle.flags & ~os.O_DIRECTORY  # O_TMPFILE has it


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
