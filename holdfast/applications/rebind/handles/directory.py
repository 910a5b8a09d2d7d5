"""Descriptors of directories.

A position in a directory means something to its own file system only. A listing that was in
progress begins again: names come twice rather than not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from holdfast.applications.rebind.agent.steps import Steps
from holdfast.applications.rebind.handles.base import DescriptorDriver
from holdfast.applications.rebind.handles.process_traits import ProcessTraits
from holdfast.applications.rebind.handles.verdicts import moved, recreated
from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.opening.requests import Expected, OpenedFiles
from holdfast.applications.rebind.parking.notes import HandleNote
from holdfast.applications.rebind.parking.placeholders import Placeholders
from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
from holdfast.model.handle import Handle, HandleOutcome, JudgedHandle


class DirectoryDriver(DescriptorDriver):
    """Descriptors of directories that can be read."""

    expected = Expected.DIRECTORY

    def judge(self, handle: Handle, facts: ProcessTraits) -> JudgedHandle:
        """Movable; a removed one is made again, and removed. A listing in progress begins again."""
        if handle.deleted:
            return recreated(handle, "was removed: an equal one takes its place")
        if handle.offset:
            return recreated(handle, "a listing in progress begins again: names may come twice")
        return moved(handle, facts)

    def rebind(
        self,
        process: StoppedProcess,
        notes: Sequence[HandleNote],
        openings: OpenedFiles,
        directory: Path,
    ) -> Steps[list[ReboundHandle]]:
        """The outcome says when a listing begins again."""
        lines = yield from super().rebind(process, notes, openings, directory)
        return [_with_words(line) for line in lines]

    def _placeholder(self, placeholders: Placeholders) -> int:
        return placeholders.directory


def _with_words(line: ReboundHandle) -> ReboundHandle:
    if line.handle.offset and line.outcome is HandleOutcome.IDENTICAL:
        return replace(line, note="a listing in progress begins again")
    return line
