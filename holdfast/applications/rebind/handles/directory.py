"""Descriptors of directories.

A position in a directory means something to its own file system only. A listing that was in
progress begins again: names come twice rather than not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from holdfast.applications.rebind.handles.descriptors import (
    key_of,
    park_descriptors,
    rebind_descriptors,
)
from holdfast.applications.rebind.handles.process_facts import ProcessFacts
from holdfast.applications.rebind.handles.verdicts import lost, moved, recreated
from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.opening.requests import Expected, OpenedFiles, OpenRequest
from holdfast.applications.rebind.parking.notes import HandleNote
from holdfast.applications.rebind.parking.placeholders import Placeholders
from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
from holdfast.model.handle import Handle, HandleOutcome, JudgedHandle, LockKind

_OF_DESCRIPTION = (LockKind.FLOCK, LockKind.OPEN_FILE)


class DirectoryDriver:
    """See the module."""

    def judge(self, handle: Handle, facts: ProcessFacts) -> JudgedHandle:
        if handle.deleted:
            return lost(handle, "the directory was removed: the descriptor returns errors")
        if handle.offset:
            return recreated(handle, "a listing in progress begins again: names may come twice")
        return moved(handle, facts)

    def examine(
        self, process: StoppedProcess, handles: Sequence[Handle], directory: Path
    ) -> list[dict[str, Any]]:
        return [{} for _ in handles]

    def park(
        self, process: StoppedProcess, notes: Sequence[HandleNote], placeholders: Placeholders
    ) -> None:
        park_descriptors(process, notes, placeholders.directory)

    def requests(self, note: HandleNote) -> list[OpenRequest]:
        return [
            OpenRequest(
                key=key_of(note),
                mount_id=note.handle.mount_id,
                path=note.details.inside,
                flags=note.handle.flags,
                expected=Expected.DIRECTORY,
                locks=tuple(lock for lock in note.handle.locks if lock.kind in _OF_DESCRIPTION),
                deleted=note.handle.deleted,
            )
        ]

    def rebind(
        self,
        process: StoppedProcess,
        notes: Sequence[HandleNote],
        openings: OpenedFiles,
        directory: Path,
    ) -> list[ReboundHandle]:
        return [_with_words(line) for line in rebind_descriptors(process, notes, openings)]


def _with_words(line: ReboundHandle) -> ReboundHandle:
    if line.handle.offset and line.outcome is HandleOutcome.IDENTICAL:
        return replace(line, note="a listing in progress begins again")
    return line
