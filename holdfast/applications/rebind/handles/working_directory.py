"""The directory a process (or a thread with its own) stands in."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from holdfast.applications.rebind.handles.base import ProcessDirectoryDriver
from holdfast.applications.rebind.handles.process_traits import ProcessTraits
from holdfast.applications.rebind.handles.verdicts import moved, recreated
from holdfast.applications.rebind.opening.lifted_protection import agent_with_entry
from holdfast.applications.rebind.opening.requests import OpenResult
from holdfast.applications.rebind.parking.notes import HandleNote
from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
from holdfast.model.handle import Handle, JudgedHandle


class WorkingDirectoryDriver(ProcessDirectoryDriver):
    """The working directory. fchdir(2) asks whether the process may search it now."""

    link = "cwd"

    def judge(self, handle: Handle, facts: ProcessTraits) -> JudgedHandle:
        """Movable; a removed one is made again, and removed again."""
        if handle.deleted:
            return recreated(handle, "was removed: an equal one takes its place")
        return moved(handle, facts)

    def _enter(
        self, process: StoppedProcess, note: HandleNote, opened: OpenResult, directory: Path
    ) -> None:
        """Stand there again, also where it could not go to from elsewhere any more."""
        place, rights = opened.descriptor, process.rights
        assert place is not None
        try:
            self._change(process, note, place)
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
                self._change(process, note, place)

    def _change(self, process: StoppedProcess, note: HandleNote, directory: int) -> None:
        thread_id = note.handle.thread_id
        number = process.tracee.give(directory, thread_id)
        try:
            process.tracee.call("fchdir", number, thread_id=thread_id)
        finally:
            process.tracee.call("close", number, thread_id=thread_id)
