"""Threads that wait in open(2) of a FIFO: they have nothing yet.

A thread that is stopped there leaves the call, and the kernel makes it again when the thread goes
on: on whatever is at that path then.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from holdfast.applications.rebind.handles.process_traits import ProcessTraits
from holdfast.applications.rebind.handles.verdicts import moved
from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.opening.requests import OpenedFiles, OpenRequest
from holdfast.applications.rebind.parking.notes import HandleNote
from holdfast.applications.rebind.parking.placeholders import Placeholders
from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
from holdfast.model.handle import Handle, HandleOutcome, JudgedHandle


class OpeningDriver:
    """Threads that wait for somebody to open the other end."""

    def judge(self, handle: Handle, facts: ProcessTraits) -> JudgedHandle:
        return moved(handle, facts)

    def examine(
        self, process: StoppedProcess, handles: Sequence[Handle], directory: Path
    ) -> list[dict[str, Any]]:
        return [{} for _ in handles]

    def park(
        self, process: StoppedProcess, notes: Sequence[HandleNote], placeholders: Placeholders
    ) -> None:
        """Nothing is to be done: it left the call when it was stopped."""

    def requests(self, note: HandleNote) -> list[OpenRequest]:
        return []

    def rebind(
        self,
        process: StoppedProcess,
        notes: Sequence[HandleNote],
        openings: OpenedFiles,
        directory: Path,
    ) -> list[ReboundHandle]:
        return [ReboundHandle(note.handle, HandleOutcome.IDENTICAL) for note in notes]

    def is_parked(self, process: StoppedProcess, note: HandleNote) -> bool:
        return False
