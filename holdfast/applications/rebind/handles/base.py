"""What drivers have in common: those of descriptors, of the directories of a process, and those
that replace nothing.

A handle counts as parked only when it leads to the root of a mount that is attached nowhere, and
what is there can be nothing but a placeholder: so what a program has opened since is never
replaced.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from holdfast.applications.fdinfo import parse_information
from holdfast.applications.rebind.agent.steps import Steps
from holdfast.applications.rebind.handles.descriptors import (
    park_descriptors,
    rebind_descriptors,
)
from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.opening.requests import (
    Expected,
    OpenedFiles,
    OpenRequest,
    OpenResult,
)
from holdfast.applications.rebind.parking.notes import HandleNote
from holdfast.applications.rebind.parking.placeholders import (
    Placeholders,
    is_placeholder_directory,
)
from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
from holdfast.model.handle import Handle, HandleOutcome, LockKind
from holdfast.system.mounts.mount_table import parse_mountinfo
from holdfast.system.proc import link, read

_OF_DESCRIPTION = (LockKind.FLOCK, LockKind.OPEN_FILE)
_DETACHED_LINK = "/"
"""The root of a mount that is attached nowhere, proc_pid_fd(5)."""


class _SaysEnough:
    """Handles of which nothing is found out beforehand."""

    def examine(
        self, process: StoppedProcess, handles: Sequence[Handle], directory: Path
    ) -> list[dict[str, Any]]:
        """Find out nothing: what the handle says is enough."""
        return [{} for _ in handles]


class DescriptorDriver(_SaysEnough, ABC):
    """Descriptors: of files, of directories, and those opened with O_PATH."""

    expected: ClassVar[Expected]
    """What must be at the path."""

    def park(
        self, process: StoppedProcess, notes: Sequence[HandleNote], placeholders: Placeholders
    ) -> Steps[None]:
        """All numbers become duplicates of the placeholder."""
        return park_descriptors(process, notes, self._placeholder(placeholders))

    def requests(self, note: HandleNote) -> list[OpenRequest]:
        """One request for each open file description."""
        return [self._request(note)]

    def rebind(
        self,
        process: StoppedProcess,
        notes: Sequence[HandleNote],
        openings: OpenedFiles,
        directory: Path,
    ) -> Steps[list[ReboundHandle]]:
        """All numbers become duplicates of what was opened for them."""
        return rebind_descriptors(process, notes, openings)

    def is_parked(self, process: StoppedProcess, note: HandleNote) -> bool:
        """Whether the descriptor is of a placeholder. Raises OSError when it has been closed."""
        folder, number = process.folder(note.handle.thread_id), note.handle.number
        if not _is_detached(process, f"{folder}/fd/{number}", read(f"{folder}/fdinfo/{number}")):
            return False
        with process.copy_of(note.handle) as copy:
            return self._is_placeholder(copy)

    def _request(self, note: HandleNote, **more: Any) -> OpenRequest:
        """The request for its open file description; `more`: further fields that this kind fills
        in."""
        return OpenRequest(
            key=note.details.key,
            mount_id=note.handle.mount_id,
            path=note.details.inside,
            flags=self._flags(note),
            expected=self.expected,
            locks=tuple(lock for lock in note.handle.locks if lock.kind in _OF_DESCRIPTION),
            deleted=note.handle.deleted,
            **more,
        )

    @abstractmethod
    def _placeholder(self, placeholders: Placeholders) -> int:
        """The one for this kind."""

    def _is_placeholder(self, descriptor: int) -> bool:
        """Whether this can be nothing but that placeholder."""
        return is_placeholder_directory(descriptor)

    def _flags(self, note: HandleNote) -> int:
        """The flags with which the descriptor is opened again."""
        return note.handle.flags


class UntouchedDriver(_SaysEnough):
    """Handles of which nothing is replaced in their process; who has them only stands still."""

    def park(
        self, process: StoppedProcess, notes: Sequence[HandleNote], placeholders: Placeholders
    ) -> None:
        """Nothing takes its place."""

    def requests(self, note: HandleNote) -> list[OpenRequest]:
        """Nothing is needed of the new mount."""
        return []

    def is_parked(self, process: StoppedProcess, note: HandleNote) -> bool:
        """Never: there is no placeholder."""
        return False


class ProcessDirectoryDriver(_SaysEnough, ABC):
    """The working directory and the root of a process, or of a thread with its own."""

    link: ClassVar[str]
    """Its name in /proc/PID."""

    def park(
        self, process: StoppedProcess, notes: Sequence[HandleNote], placeholders: Placeholders
    ) -> None:
        """The process stands in an empty folder."""
        for note in notes:
            self._change(process, note, placeholders.directory)

    def requests(self, note: HandleNote) -> list[OpenRequest]:
        """A place to stand in."""
        return [
            OpenRequest(
                key=note.details.key,
                mount_id=note.handle.mount_id,
                path=note.details.inside,
                flags=os.O_PATH | os.O_DIRECTORY,
                expected=Expected.DIRECTORY,
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
        """The process stands in the new directory. Raises OSError."""
        return [
            self._rebind(process, note, openings[note.details.key], directory) for note in notes
        ]

    def _rebind(
        self, process: StoppedProcess, note: HandleNote, opened: OpenResult, directory: Path
    ) -> ReboundHandle:
        if opened.descriptor is not None:
            try:
                self._enter(process, note, opened, directory)
            except PermissionError:
                words = "the process has no right to enter it any more"
                return ReboundHandle(note.handle, HandleOutcome.LOST, words)
        return ReboundHandle(note.handle, opened.outcome, opened.note)

    def is_parked(self, process: StoppedProcess, note: HandleNote) -> bool:
        """Whether the link in /proc leads to the placeholder directory. Raises OSError."""
        path = f"{process.folder(note.handle.thread_id)}/{self.link}"
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            information = read(f"/proc/self/fdinfo/{place}")
            return _is_detached(process, path, information) and is_placeholder_directory(place)
        finally:
            os.close(place)

    @abstractmethod
    def _enter(
        self, process: StoppedProcess, note: HandleNote, opened: OpenResult, directory: Path
    ) -> None:
        """Change to what was opened. Raises OSError."""

    @abstractmethod
    def _change(self, process: StoppedProcess, note: HandleNote, directory: int) -> None:
        """Change to this directory of ours. Raises OSError."""


def _is_detached(process: StoppedProcess, path: str, information: bytes) -> bool:
    """Whether a link in /proc leads to the root of a mount that is not in the mount table."""
    if link(path) != _DETACHED_LINK:
        return False
    there = parse_mountinfo(read(f"/proc/{process.pid}/mountinfo"))
    return parse_information(information).mount_id not in {each.identifier for each in there}
