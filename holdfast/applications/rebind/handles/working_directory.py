"""The directory a process (or a thread with its own) stands in."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from holdfast.applications.rebind.handles.process_facts import ProcessFacts
from holdfast.applications.rebind.handles.verdicts import lost, moved
from holdfast.applications.rebind.opening.lifted_protection import agent_with_entry
from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.opening.requests import OpenedFiles, OpenRequest, OpenResult
from holdfast.applications.rebind.parking.notes import HandleNote
from holdfast.applications.rebind.parking.placeholders import Placeholders
from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
from holdfast.model.handle import Handle, HandleOutcome, JudgedHandle


class WorkingDirectoryDriver:
    """See the module. fchdir(2) asks whether the process may search the directory now."""

    def judge(self, handle: Handle, facts: ProcessFacts) -> JudgedHandle:
        if handle.deleted:
            return lost(handle, "the directory was removed: the process stands in an empty one")
        return moved(handle, facts)

    def examine(
        self, process: StoppedProcess, handles: Sequence[Handle], directory: Path
    ) -> list[dict[str, Any]]:
        return [{} for _ in handles]

    def park(
        self, process: StoppedProcess, notes: Sequence[HandleNote], placeholders: Placeholders
    ) -> None:
        for note in notes:
            _change(process, note, placeholders.directory)

    def requests(self, note: HandleNote) -> list[OpenRequest]:
        return [OpenRequest.directory(note)]

    def rebind(
        self,
        process: StoppedProcess,
        notes: Sequence[HandleNote],
        openings: OpenedFiles,
        directory: Path,
    ) -> list[ReboundHandle]:
        return [self._rebind(process, note, openings, directory) for note in notes]

    def _rebind(
        self, process: StoppedProcess, note: HandleNote, openings: OpenedFiles, directory: Path
    ) -> ReboundHandle:
        opened = openings[note.details.key]
        if opened.descriptor is not None:
            try:
                _enter(process, note, opened, directory)
            except PermissionError:
                words = "the process has no right to enter it any more"
                return ReboundHandle(note.handle, HandleOutcome.LOST, words)
        return ReboundHandle(note.handle, opened.outcome, opened.note)


def _enter(process: StoppedProcess, note: HandleNote, opened: OpenResult, directory: Path) -> None:
    """Stand there again, also where it could not go to from elsewhere any more."""
    place, rights = opened.descriptor, process.rights
    assert place is not None
    try:
        _change(process, note, place)
    except PermissionError:
        if not opened.is_proven or not rights:
            raise
        status = os.fstat(place)
        who = stat.S_IXOTH
        if rights[0].user_id == status.st_uid:
            who = stat.S_IXUSR
        elif status.st_gid in (rights[0].group_id, *rights[0].groups):
            who = stat.S_IXGRP
        with agent_with_entry(place, note.handle.mount_id, directory, who):
            _change(process, note, place)


def _change(process: StoppedProcess, note: HandleNote, directory: int) -> None:
    thread_id = note.handle.thread_id
    number = process.tracee.give(directory, thread_id)
    try:
        process.tracee.call("fchdir", number, thread_id=thread_id)
    finally:
        process.tracee.call("close", number, thread_id=thread_id)
