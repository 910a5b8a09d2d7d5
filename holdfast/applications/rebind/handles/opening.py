"""Threads that wait in open(2) of a FIFO: they have nothing yet.

A thread that is stopped there leaves the call, and the kernel makes it again when the thread goes
on: on whatever is at that path then.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from holdfast.applications.rebind.handles.base import UntouchedDriver
from holdfast.applications.rebind.handles.process_traits import ProcessTraits
from holdfast.applications.rebind.handles.verdicts import moved
from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.opening.requests import OpenedFiles
from holdfast.applications.rebind.parking.notes import HandleNote
from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
from holdfast.model.handle import Handle, HandleOutcome, JudgedHandle


class OpeningDriver(UntouchedDriver):
    """Threads that wait for somebody to open the other end; each left the call when it was
    stopped."""

    def judge(self, handle: Handle, facts: ProcessTraits) -> JudgedHandle:
        return moved(handle, facts)

    def rebind(
        self,
        process: StoppedProcess,
        notes: Sequence[HandleNote],
        openings: OpenedFiles,
        directory: Path,
    ) -> list[ReboundHandle]:
        return [ReboundHandle(note.handle, HandleOutcome.IDENTICAL) for note in notes]
