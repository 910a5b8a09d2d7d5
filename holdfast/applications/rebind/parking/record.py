"""The record of what is parked: enough for a later agent to finish what a dead one began.

Owns the record directory: the journal (one JSON object a line) and the contents that are carried
over. Invariant: an entry is in the kernel's hands before what it announces is done, so it survives
the death of any process of ours. It need not survive the death of the kernel: the processes whose
handles it names do not either, which is why nothing here is flushed to storage and an entry of an
earlier boot means nothing. Must never lie on the volume that is dismounted.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.errors import StorageFailed
from holdfast.model.bounded import read_object
from holdfast.model.handle import FileLock, Handle, HandleKind, LockKind
from holdfast.system.boot import boot_id


class EntryKind:
    """What an entry of the journal says, in the order in which they come."""

    BEGIN = "begin"
    PROCESS = "process"
    """A process is stopped, and this is what it has; nothing is changed yet."""
    PARKING = "parking"
    PARKED = "parked"
    COPIED = "copied"
    """Where the files are on the file system that takes the old one's place."""
    REBINDING = "rebinding"
    REBOUND = "rebound"
    RELEASED = "released"


@dataclass(frozen=True)
class HandleNote:
    """A handle as it was, and what its driver needs to make it again."""

    handle: Handle
    details: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        handle = dict(vars(self.handle))  # many times quicker than dataclasses.asdict
        handle["locks"] = [vars(lock) for lock in self.handle.locks]
        return {"handle": handle, "details": self.details}


def handle_from_json(values: dict[str, Any]) -> Handle:
    """The handle that `Handle.as_json` described."""
    locks = tuple(FileLock(**{**lock, "kind": LockKind(lock["kind"])}) for lock in values["locks"])
    return Handle(**{**values, "kind": HandleKind(values["kind"]), "locks": locks})


def note_from_json(values: dict[str, Any]) -> HandleNote:
    """The note that `HandleNote.as_json` described."""
    return HandleNote(handle_from_json(values["handle"]), values["details"])


class ParkingRecord:
    """The journal of one rebind and the files beside it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._path = directory / "journal"

    def begin(self, deadline_ns: int) -> None:
        """Make the directory (0700) and the first entry. Raises FileExistsError when in use."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.close(descriptor)
        self.write({"act": EntryKind.BEGIN, "boot": boot_id(), "deadline_ns": deadline_ns})

    def write(self, *entries: dict[str, Any]) -> None:
        """Append entries; they survive our death when this returns.

        Raises OSError with none of them appended.
        """
        data = b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)
        descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        try:
            size = _whole_lines_bytes(descriptor)
            os.ftruncate(descriptor, size)  # what a dead agent has torn must not spoil this one
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(descriptor, view) :]
            except OSError:
                os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)

    def read(self) -> list[dict[str, Any]]:
        """All entries, without a last one that was torn; empty when they are of another boot.

        Raises StorageFailed when one is damaged.
        """
        entries = list(self._entries())
        if not entries or entries[0].get("boot") != boot_id():
            return []
        return entries

    def _entries(self) -> Iterator[dict[str, Any]]:
        try:
            lines = self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        for line in lines[:-1]:  # behind the last newline: nothing, or what was torn
            try:
                entry = read_object(line)
                if not isinstance(entry.get("act"), str):
                    raise ValueError("an entry does not say what it is")
            except ValueError as error:
                raise StorageFailed(
                    f"the record {self._path} is damaged: {error}",
                    "Processes that are parked run again at their deadline; then give the"
                    " restoration up: holdfast recover --abandon NAME.",
                ) from error
            yield entry

    def remove(self) -> None:
        """The directory goes, the journal first: without it the rest means nothing. Idempotent."""
        self._path.unlink(missing_ok=True)
        shutil.rmtree(self.directory, ignore_errors=True)


def _whole_lines_bytes(descriptor: int) -> int:
    """Size of a file without a last line that has no end."""
    size = os.fstat(descriptor).st_size
    end = size
    while end:
        begin = max(end - 4096, 0)
        found = os.pread(descriptor, end - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0
