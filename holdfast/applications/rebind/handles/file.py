"""Descriptors of regular files: offset, flags, owner, sharing and locks stay as they are.

A file without a name is made again from its contents, without a name. What cannot be kept because
the kernel tells nobody: advice (posix_fadvise(2)), write life time hints (F_SET_RW_HINT).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from holdfast.applications.rebind.agent.steps import Steps
from holdfast.applications.rebind.handles.base import DescriptorDriver
from holdfast.applications.rebind.handles.process_traits import ProcessTraits
from holdfast.applications.rebind.handles.signals import give_owners, owner_and_signal
from holdfast.applications.rebind.handles.verdicts import moved, recreated
from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.opening.requests import Expected, OpenedFiles, OpenRequest
from holdfast.applications.rebind.parking.notes import HandleNote
from holdfast.applications.rebind.parking.placeholders import Placeholders, is_placeholder_file
from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
from holdfast.model.handle import Handle, JudgedHandle


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
        with process.copy_of(handle) as copy:
            return owner_and_signal(process, handle, copy)

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
        opened = [note for note in notes if openings[note.details.key].descriptor is not None]
        give_owners(process, opened, openings)
        return lines

    def _placeholder(self, placeholders: Placeholders) -> int:
        return placeholders.file

    def _is_placeholder(self, descriptor: int) -> bool:
        return is_placeholder_file(descriptor)

    def _flags(self, note: HandleNote) -> int:
        return note.handle.flags & ~os.O_DIRECTORY  # O_TMPFILE has it
