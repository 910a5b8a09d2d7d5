"""The root directory of a process: chroot(2), which takes CAP_SYS_CHROOT in the process itself."""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.applications.rebind.handles.base import ProcessDirectoryDriver
from holdfast.applications.rebind.handles.process_traits import ProcessTraits
from holdfast.applications.rebind.handles.verdicts import blocks, moved, recreated
from holdfast.applications.rebind.opening.requests import OpenResult
from holdfast.applications.rebind.parking.notes import HandleNote
from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
from holdfast.model.handle import Handle, JudgedHandle


class RootDriver(ProcessDirectoryDriver):
    """The root directory."""

    link = "root"

    def judge(self, handle: Handle, facts: ProcessTraits) -> JudgedHandle:
        """Movable by processes with CAP_SYS_CHROOT only; a removed one is made again, and removed
        again."""
        if not facts.may_change_root:
            return blocks(handle, "its root is there, and it gave up the right to change that")
        if handle.deleted:
            return recreated(handle, "was removed: an equal one takes its place")
        return moved(handle, facts)

    def _enter(
        self, process: StoppedProcess, note: HandleNote, opened: OpenResult, directory: Path
    ) -> None:
        assert opened.descriptor is not None
        self._change(process, note, opened.descriptor)

    def _change(self, process: StoppedProcess, note: HandleNote, directory: int) -> None:
        """Enter the directory, make it the root, and go back to where the process stood."""
        tracee, thread_id = process.tracee, note.handle.thread_id
        here = os.open(
            f"{process.folder(thread_id)}/cwd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        )
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
