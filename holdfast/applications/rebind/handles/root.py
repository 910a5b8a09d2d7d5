"""The root directory of a process: chroot(2), which takes CAP_SYS_CHROOT in the process itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from holdfast.applications.rebind.handles.process_facts import ProcessFacts
from holdfast.applications.rebind.handles.verdicts import blocks, moved
from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.opening.requests import OpenedFiles, OpenRequest
from holdfast.applications.rebind.parking.notes import HandleNote
from holdfast.applications.rebind.parking.placeholders import Placeholders
from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
from holdfast.model.handle import Handle, JudgedHandle


class RootDriver:
    """See the module."""

    def judge(self, handle: Handle, facts: ProcessFacts) -> JudgedHandle:
        if handle.deleted:
            return blocks(handle, "its root directory was removed")
        if not facts.may_change_root:
            return blocks(handle, "chroot there, and it gave up the right to change that")
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
        lines = []
        for note in notes:
            opened = openings[note.details.key]
            if opened.descriptor is not None:
                _change(process, note, opened.descriptor)
            lines.append(ReboundHandle(note.handle, opened.outcome, opened.note))
        return lines


def _change(process: StoppedProcess, note: HandleNote, directory: int) -> None:
    """Enter the directory, make it the root, and go back to where the process stood."""
    tracee, thread_id = process.tracee, note.handle.thread_id
    here = os.open(f"{process.folder(thread_id)}/cwd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        new, back = tracee.channel(thread_id).give([directory, here])
    finally:
        os.close(here)
    try:
        tracee.call("fchdir", new, thread_id=thread_id)
        tracee.write(tracee.scratch, b".\0")
        tracee.call("chroot", tracee.scratch, thread_id=thread_id)
        tracee.call("fchdir", back, thread_id=thread_id)
    finally:
        process.close_numbers((new, back), thread_id)
