"""The root directory of a process: chroot(2), which takes CAP_SYS_CHROOT in the process itself.

One that has put the right aside (seteuid(2)) is moved by a new thread of it that takes it up.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from holdfast.applications.rebind.agent.borrowed_rights import (
    chroot_with_permitted_right,
    may_chroot,
)
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
        may_take = facts.may_take_root and handle.thread_id is None
        if not (facts.may_change_root or may_take):
            return blocks(handle, "its root is there, and it gave up the right to change that")
        if handle.deleted:
            return recreated(handle, "was removed: an equal one takes its place")
        return moved(handle, facts)

    def examine(
        self, process: StoppedProcess, handles: Sequence[Handle], directory: Path
    ) -> list[dict[str, Any]]:
        """Try whether a thread can take the right, where one will have to: it makes the root what
        it is already. Not where the storage may hang. Raises OSError."""
        tracee = process.tracee
        is_shared = any(handle.thread_id is None for handle in handles)
        if is_shared and process.storage_answers and not may_chroot(tracee):
            here = _here(process, None)
            try:
                number = tracee.give(here)
            finally:
                os.close(here)
            try:
                chroot_with_permitted_right(tracee, number, b"/")
            finally:
                tracee.call("close", number)
        return super().examine(process, handles, directory)

    def _enter(
        self, process: StoppedProcess, note: HandleNote, opened: OpenResult, directory: Path
    ) -> None:
        assert opened.descriptor is not None
        self._change(process, note, opened.descriptor)

    def _change(self, process: StoppedProcess, note: HandleNote, directory: int) -> None:
        """Enter the directory, make it the root, and go back to where the process stood."""
        tracee, thread_id = process.tracee, note.handle.thread_id
        here = _here(process, thread_id)
        try:
            new, back = tracee.channel(thread_id).give([directory, here])
        finally:
            os.close(here)
        try:
            tracee.call("fchdir", new, thread_id=thread_id)
            tracee.write(tracee.scratch, b".\0")
            if thread_id is not None or may_chroot(tracee):
                tracee.call("chroot", tracee.scratch, thread_id=thread_id)
            else:
                chroot_with_permitted_right(tracee, new)
            tracee.call("fchdir", back, thread_id=thread_id)
        finally:
            process.close_numbers((new, back), thread_id)


def _here(process: StoppedProcess, thread_id: int | None) -> int:
    """Where it stands; ours. Raises OSError."""
    path = f"{process.folder(thread_id)}/cwd"
    return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
