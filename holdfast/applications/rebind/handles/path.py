"""Descriptors opened with O_PATH: a place in the tree, of whatever is there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from holdfast.applications.rebind.handles.descriptors import (
    key_of,
    park_descriptors,
    rebind_descriptors,
)
from holdfast.applications.rebind.handles.process_facts import ProcessFacts
from holdfast.applications.rebind.handles.verdicts import lost, moved
from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.opening.requests import Expected, OpenedFiles, OpenRequest
from holdfast.applications.rebind.parking.notes import HandleNote
from holdfast.applications.rebind.parking.placeholders import Placeholders
from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
from holdfast.model.handle import Handle, JudgedHandle

_PLACE_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
"""O_PATH_FLAGS of include/linux/fcntl.h; it is of a symbolic link itself with O_NOFOLLOW."""


class PathDriver:
    """See the module."""

    def judge(self, handle: Handle, facts: ProcessFacts) -> JudgedHandle:
        if handle.deleted:
            return lost(handle, "what it named was removed: the descriptor returns errors")
        return moved(handle, facts)

    def examine(
        self, process: StoppedProcess, handles: Sequence[Handle], directory: Path
    ) -> list[dict[str, Any]]:
        return [{} for _ in handles]

    def park(
        self, process: StoppedProcess, notes: Sequence[HandleNote], placeholders: Placeholders
    ) -> None:
        park_descriptors(process, notes, placeholders.place)

    def requests(self, note: HandleNote) -> list[OpenRequest]:
        return [
            OpenRequest(
                key=key_of(note),
                mount_id=note.handle.mount_id,
                path=note.details.inside,
                flags=note.handle.flags & _PLACE_FLAGS,
                expected=Expected.ANYTHING,
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
        return rebind_descriptors(process, notes, openings)
