"""The record of what is parked: enough for a later agent to finish what a dead one began.

Owns the record directory: the journal (one JSON object a line) and the contents that are carried
over. Invariants: what is written of a process can be read again, else it is refused; an entry is in
the kernel's hands before what it announces is done, so it survives the death of any process of
ours. It need not survive the death of the kernel: the processes whose handles it names do not
either, which is why nothing here is flushed to storage and an entry of an earlier boot means
nothing. Must never lie on the volume that is dismounted.

The first entry has the version of the format; records without one are of version 1. An older record
is always read: a field that is added has a default. A newer one is refused: whatever an older
Holdfast would misunderstand gets a higher version.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from holdfast.applications.rebind.agent.process_record import ProcessRecord
from holdfast.applications.rebind.parking.notes import (
    HandleNote,
    WatchDetails,
    WatchRecord,
    handle_from_json,
    note_from_json,
    note_of,
    plain,
)
from holdfast.applications.rebind.parking.relocation import CopiedFiles
from holdfast.errors import Blocked, UnreadableRecord
from holdfast.late_dataclass import dataclass
from holdfast.model.bounded import read_object, typed, whole
from holdfast.model.handle import Handle
from holdfast.system.boot import boot_id
from holdfast.system.children.halves import in_halves

VERSION = 3
"""1: each note of an inotify watch has all watches of its instance; 2: only the first one has; 3:
maps have protection keys, which an older Holdfast would leave out."""

_MANY_NOTES = 300
"""From this many notes on, a child that checks and writes half of them saves more time than it
costs to start."""

_MOST_BYTES = 1 << 30
"""Of one entry: that of a process with a million open files has half of it."""


class EntryKind(StrEnum):
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
class ParkedProcess:
    """One process in the record."""

    name: str
    process: ProcessRecord
    notes: tuple[HandleNote, ...]


@dataclass(frozen=True)
class Parked:
    """The whole record, as far as it was written."""

    deadline_ns: int
    """Of CLOCK_MONOTONIC: when the processes go on by themselves."""
    kinds: frozenset[str]
    """The entries that there are: how far it came."""
    processes: tuple[ParkedProcess, ...]
    copied: CopiedFiles | None
    """Where the files are on the file system that comes next."""

    @property
    def has_begun(self) -> bool:
        """Whether handles may be parked; before, the processes go on by themselves."""
        return EntryKind.PARKING in self.kinds


class ParkingRecord:
    """The journal of one rebind and the files beside it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._path = directory / "journal"
        self._prepared: _Prepared = {}

    def prepare(self, handles: Iterable[Handle]) -> None:
        """Check and encode handles before anybody stands still, for `enter`, which uses that for
        those that it gets as these very objects. Writes nothing."""
        for handle in handles:
            with suppress(ValueError):  # whoever still has it then cannot be entered
                self._prepared[id(handle)] = handle, _checked_text_of(handle)

    def begin(self, deadline_ns: int) -> None:
        """Make the directory (0700) and the first entry. Raises FileExistsError when in use."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.close(descriptor)
        begin = {"act": EntryKind.BEGIN, "version": VERSION, "boot": boot_id()}
        self.write({**begin, "deadline_ns": deadline_ns})

    def enter(self, *processes: ParkedProcess) -> None:
        """Append what these processes have.

        Raises Blocked when it could not be read again, which names the process; OSError.
        """
        count = sum(len(each.notes) for each in processes)
        is_much = len(processes) > 1 and count >= _MANY_NOTES
        line_of = partial(_checked_line_of, self._prepared)
        lines = in_halves(line_of, processes) if is_much else map(line_of, processes)
        self._append(b"".join(lines))
        self._prepared = {}

    def write(self, *entries: dict[str, Any]) -> None:
        """Append entries; they survive our death when this returns.

        Raises OSError with none of them appended.
        """
        self._append(b"".join(_line_of(entry) for entry in entries))

    def _append(self, data: bytes) -> None:
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

    def load(self) -> Parked | None:
        """What the record says, every field of it of the type and size that it must have.

        None when there is none, or when it is of another boot. Raises UnreadableRecord when it is
        damaged, or was written by a newer Holdfast.
        """
        entries = self.read()
        if not entries:
            return None
        try:
            return _parked(entries)
        except ValueError as error:
            raise self._damaged(error) from error

    def read(self) -> list[dict[str, Any]]:
        """All entries, without a last one that was torn; empty when they are of another boot.

        Nothing of them is checked but that each says what it is, and that they are of a version
        that we can read. Raises UnreadableRecord.
        """
        entries = list(self._entries())
        if not entries or entries[0].get("boot") != boot_id():
            return []
        version = entries[0].get("version", 1)
        if not isinstance(version, int) or version < 1:
            raise self._damaged(ValueError("its version is no number"))
        if version > VERSION:
            raise UnreadableRecord(
                f"the record {self._path} was written by a newer Holdfast (version {version},"
                f" this one reads {VERSION})",
                "Let that Holdfast finish it: holdfast recover. Processes that are parked run again"
                " at their deadline.",
            )
        return entries

    def _entries(self) -> Iterator[dict[str, Any]]:
        try:
            lines = self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._damaged(error) from error
        for line in lines[:-1]:  # behind the last newline: nothing, or what was torn
            try:
                entry = read_object(line, _MOST_BYTES)
                if not isinstance(entry.get("act"), str):
                    raise ValueError("an entry does not say what it is")
            except ValueError as error:
                raise self._damaged(error) from error
            yield entry

    def _damaged(self, error: Exception) -> UnreadableRecord:
        return UnreadableRecord(
            f"the record {self._path} is damaged: {error}",
            "Processes that are parked run again at their deadline.",
        )

    def remove(self) -> None:
        """The directory goes, the journal first: without it the rest means nothing. Idempotent."""
        self._path.unlink(missing_ok=True)
        shutil.rmtree(self.directory, ignore_errors=True)


_ENCODER = json.JSONEncoder(check_circular=False)
"""No value of ours contains itself."""


def _line_of(entry: dict[str, Any]) -> bytes:
    return _ENCODER.encode(entry).encode() + b"\n"


_Prepared = dict[int, tuple[Handle, str]]
"""Handles with their text, by id(), which is theirs as long as they are in here."""


def _checked_text_of(handle: Handle) -> str:
    """A handle in JSON. Raises ValueError when nobody could read it after our death."""
    values = plain(handle)
    handle_from_json(values)
    return _ENCODER.encode(values)


def _checked_line_of(prepared: _Prepared, parked: ParkedProcess) -> bytes:
    """The line of a process. Raises Blocked when nobody could read it after our death."""
    try:
        target = plain(parked.process)
        typed(ProcessRecord, target)
        head = {
            "act": EntryKind.PROCESS,
            "pid": parked.process.pid,
            "name": parked.name,
            "target": target,
        }
        notes = _checked_text_of_notes(prepared, parked.notes)
        line = f'{_ENCODER.encode(head)[:-1]}, "notes": {notes}}}\n'.encode()
        if len(line) > _MOST_BYTES:
            raise ValueError(f"it would be {len(line)} bytes")
    except ValueError as error:
        raise Blocked(
            f"{parked.name} (process {parked.process.pid}) cannot be moved: what it has cannot be"
            f" written down so that it can be read again: {error}",
            "End this process, or have it close the handle.",
        ) from error
    return line


_NO_HANDLE = '{"handle": null, '
"""How a note without its handle begins in JSON. No text in it can look like that: its quotes are
escaped."""


def _checked_text_of_notes(prepared: _Prepared, notes: Iterable[HandleNote]) -> str:
    """Notes in JSON. Raises ValueError when nobody could read them after our death."""
    handles, rest = [], []
    for note in _watches_once(notes):
        known = prepared.get(id(note.handle))
        handles.append(known[1] if known else _checked_text_of(note.handle))
        details = plain(note.details)
        note_of(note.handle, details)
        rest.append({"handle": None, "details": details})
    first, *others = _ENCODER.encode(rest).split(_NO_HANDLE)
    texts = (
        f'{{"handle": {handle}, {other}' for handle, other in zip(handles, others, strict=True)
    )
    return first + "".join(texts)


def _watches_once(notes: Iterable[HandleNote]) -> Iterator[HandleNote]:
    """The same notes; of each inotify instance only the first one says which watches it has.

    All of them in every note would be millions for an instance with some thousands.
    """
    told: set[str] = set()
    for note in notes:
        details = note.details
        if isinstance(details, WatchDetails) and details.key in told:
            yield replace(note, details=replace(details, watches=()))
        else:
            yield note
        told.add(details.key)


def _watches_in_each(notes: Iterable[HandleNote]) -> Iterator[HandleNote]:
    """The opposite of `_watches_once`."""
    told: dict[str, tuple[WatchRecord, ...]] = {}
    for note in notes:
        details = note.details
        if isinstance(details, WatchDetails):
            watches = told.setdefault(details.key, details.watches)
            yield replace(note, details=replace(details, watches=details.watches or watches))
        else:
            yield note


def _parked(entries: Sequence[Mapping[str, Any]]) -> Parked:
    """Raises ValueError that says what is wrong. Pure."""
    kinds = frozenset(entry["act"] for entry in entries)
    unknown = kinds - set(EntryKind)
    if unknown or entries[0]["act"] != EntryKind.BEGIN:
        raise ValueError(f"an entry of it is {(sorted(unknown) or [entries[0]['act']])[0][:40]!r}")
    copied = [each.get("places") for each in entries if each["act"] == EntryKind.COPIED]
    return Parked(
        deadline_ns=whole(entries[0].get("deadline_ns"), "deadline_ns"),
        kinds=kinds,
        processes=tuple(_process(each) for each in entries if each["act"] == EntryKind.PROCESS),
        copied=CopiedFiles.from_json(copied[-1]) if copied else None,
    )


def _process(entry: Mapping[str, Any]) -> ParkedProcess:
    name, notes = entry.get("name"), entry.get("notes")
    if not isinstance(name, str) or not isinstance(notes, list):
        raise ValueError("a process has no name, or no notes")
    process = typed(ProcessRecord, entry.get("target"))
    if entry.get("pid") != process.pid:
        raise ValueError(f"process {process.pid} has two numbers")
    found = _watches_in_each(note_from_json(each) for each in notes)
    return ParkedProcess(name, process, tuple(found))


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
