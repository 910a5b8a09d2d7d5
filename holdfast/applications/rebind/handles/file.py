"""Descriptors of regular files: offset, flags, owner, sharing and locks stay as they are.

A file without a name is made again from its contents, without a name. What cannot be kept because
the kernel tells nobody: advice (posix_fadvise(2)), write life time hints (F_SET_RW_HINT).
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from holdfast.applications.rebind.descriptors import (
    key_of,
    park_descriptors,
    rebind_descriptors,
)
from holdfast.applications.rebind.facts import Facts
from holdfast.applications.rebind.handles.judging import moved, recreated
from holdfast.applications.rebind.outcomes import Observed, ReboundHandle
from holdfast.applications.rebind.parking import Note
from holdfast.applications.rebind.placeholders import Placeholders
from holdfast.applications.rebind.stopped import StoppedProcess
from holdfast.applications.rebind.wanted import Expected, Openings, Wanted
from holdfast.model.handle import Handle, JudgedHandle, LockKind

_GET_OWNER, _GET_SIGNAL = 16, 11  # F_GETOWN_EX, F_GETSIG: asm-generic/fcntl.h
_OF_DESCRIPTION = (LockKind.FLOCK, LockKind.OPEN_FILE)


class FileDriver:
    """See the module."""

    def judge(self, handle: Handle, facts: Facts) -> JudgedHandle:
        if handle.deleted:
            return recreated(handle, "has no name any more: its contents are carried over")
        return moved(handle, facts)

    def examine(
        self, process: StoppedProcess, handles: Sequence[Handle], directory: Path
    ) -> list[dict[str, Any]]:
        return [self._examine(process, handle) for handle in handles]

    def _examine(self, process: StoppedProcess, handle: Handle) -> dict[str, Any]:
        if not process.storage_answers or handle.number is None:
            return {}  # closing our copy could make the storage flush
        copy = process.target.courier(handle.thread_id).take(handle.number)
        try:
            details: dict[str, Any] = {}
            with suppress(OSError):
                answer = fcntl.fcntl(copy, _GET_OWNER, struct.pack("=ii", 0, 0))
                kind, owner = struct.unpack("=ii", answer)
                if owner:
                    details = {"owner": [kind, owner], "signal": fcntl.fcntl(copy, _GET_SIGNAL)}
            return details
        finally:
            os.close(copy)

    def park(
        self, process: StoppedProcess, notes: Sequence[Note], placeholders: Placeholders
    ) -> None:
        park_descriptors(process, notes, placeholders.file)

    def wants(self, note: Note) -> list[Wanted]:
        handle, details = note.handle, note.details
        before = details.get("before")
        return [
            Wanted(
                key=key_of(note),
                mount_id=handle.mount_id,
                path=details["inside"],
                flags=handle.flags & ~os.O_DIRECTORY,  # O_TMPFILE has it
                expected=Expected.FILE,
                offset=handle.offset,
                locks=tuple(lock for lock in handle.locks if lock.kind in _OF_DESCRIPTION),
                owner=tuple(details["owner"]) if "owner" in details else None,
                signal=details.get("signal", 0),
                contents=details.get("contents", "") if handle.deleted else "",
                deleted=handle.deleted,
                before=Observed(**before) if before else None,
            )
        ]

    def rebind(
        self, process: StoppedProcess, notes: Sequence[Note], openings: Openings, directory: Path
    ) -> list[ReboundHandle]:
        return rebind_descriptors(process, notes, openings)
