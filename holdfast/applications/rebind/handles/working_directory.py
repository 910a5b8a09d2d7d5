"""The directory a process (or a thread with its own) stands in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from holdfast.applications.rebind.facts import Facts
from holdfast.applications.rebind.handles.judging import lost, moved
from holdfast.applications.rebind.outcomes import ReboundHandle
from holdfast.applications.rebind.parking import Note
from holdfast.applications.rebind.placeholders import Placeholders
from holdfast.applications.rebind.stopped import StoppedProcess
from holdfast.applications.rebind.wanted import Openings, Wanted
from holdfast.model.handle import Handle, HandleOutcome, JudgedHandle


class WorkingDirectoryDriver:
    """See the module. The process must be allowed to search the directory (fchdir(2), EACCES)."""

    def judge(self, handle: Handle, facts: Facts) -> JudgedHandle:
        if handle.deleted:
            return lost(handle, "the directory was removed: the process stands in an empty one")
        return moved(handle, facts)

    def examine(
        self, process: StoppedProcess, handles: Sequence[Handle], directory: Path
    ) -> list[dict[str, Any]]:
        return [{} for _ in handles]

    def park(
        self, process: StoppedProcess, notes: Sequence[Note], placeholders: Placeholders
    ) -> None:
        for note in notes:
            _change(process, note, placeholders.directory)

    def wants(self, note: Note) -> list[Wanted]:
        return [Wanted.directory(note)]

    def rebind(
        self, process: StoppedProcess, notes: Sequence[Note], openings: Openings, directory: Path
    ) -> list[ReboundHandle]:
        return [self._rebind(process, note, openings) for note in notes]

    def _rebind(self, process: StoppedProcess, note: Note, openings: Openings) -> ReboundHandle:
        opened = openings[note.details["key"]]
        if opened.descriptor is not None:
            try:
                _change(process, note, opened.descriptor)
            except PermissionError:
                words = "the process has no right to enter it any more"
                return ReboundHandle(note.handle, HandleOutcome.LOST, words)
        return ReboundHandle(note.handle, opened.outcome, opened.note)


def _change(process: StoppedProcess, note: Note, directory: int) -> None:
    thread_id = note.handle.thread_id
    number = process.target.give(directory, thread_id)
    try:
        process.target.call("fchdir", number, thread_id=thread_id)
    finally:
        process.target.call("close", number, thread_id=thread_id)
