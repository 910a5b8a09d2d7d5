"""The passes of a rebind: open everything, put it in its places, then watches, then locks.

Order matters between processes: descriptions with locks are opened before anything else, so that
nobody takes those locks; watches are added when we open nothing any more that they could tell of;
locks that belong to processes come last, when no descriptor of theirs is closed any more. May be
run again from the beginning.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from holdfast.applications.rebind.handles import DRIVERS
from holdfast.applications.rebind.locks import take_locks
from holdfast.applications.rebind.opener import Opener
from holdfast.applications.rebind.outcomes import ReboundHandle
from holdfast.applications.rebind.parking import Note
from holdfast.applications.rebind.stopped import StoppedProcess, unless_it_ends
from holdfast.applications.rebind.wanted import Opened, Openings, Wanted
from holdfast.model.handle import HandleKind, HandleOutcome


def put_back(
    processes: dict[int, StoppedProcess], opener: Opener, directory: Path
) -> list[ReboundHandle]:
    """Let all handles of these processes point to the new mounts; what became of each.

    Processes that have ended are taken out. Raises DeadlinePassed, StorageFailed when the new
    storage does not answer: then some handles point there and some are parked.
    """
    all_of = list(processes.values())
    wanted = {process.pid: _wanted_by(process) for process in all_of}
    lines: list[ReboundHandle] = []
    opened: dict[str, Opened] = {}
    openings = Openings(opened)
    try:
        opened.update(opener.open(_locked(wanted.values())))
        last = {each.key: pid for pid, mine in wanted.items() for each in mine}
        for process in all_of:
            mine = wanted[process.pid]
            opened.update(opener.open([each for each in mine if each.key not in opened]))
            with unless_it_ends(processes, process):
                lines += _put(process, openings, directory)
            _close(opened, [each.key for each in mine if last[each.key] == process.pid])
        for process in list(processes.values()):
            with unless_it_ends(processes, process):
                lines += _watch(process, opener, openings, directory)
    finally:
        _close(opened, list(opened))
        for instance in openings.instances.values():
            os.close(instance)
    for process in list(processes.values()):
        with unless_it_ends(processes, process):
            lines = _without_locks(lines, take_locks(process))
    return lines


def _locked(wanted: Iterable[Sequence[Wanted]]) -> list[Wanted]:
    return list({each.key: each for mine in wanted for each in mine if each.locks}.values())


def _put(process: StoppedProcess, openings: Openings, directory: Path) -> list[ReboundHandle]:
    lines: list[ReboundHandle] = []
    for kind, driver in DRIVERS.items():
        notes = process.notes_of(kind)
        if kind is HandleKind.INOTIFY or not notes:
            continue
        try:
            lines += driver.rebind(process, notes, openings, directory)
        except ProcessLookupError:
            raise
        except OSError as error:
            lines += _lost(notes, error)
    return lines


def _watch(
    process: StoppedProcess, opener: Opener, openings: Openings, directory: Path
) -> list[ReboundHandle]:
    notes = process.notes_of(HandleKind.INOTIFY)
    if not notes:
        return []
    driver = DRIVERS[HandleKind.INOTIFY]
    wanted = {each.key: each for note in notes for each in driver.wants(note)}
    opened = opener.open(list(wanted.values()))
    try:
        return driver.rebind(process, notes, Openings(opened, openings.instances), directory)
    except ProcessLookupError:
        raise
    except OSError as error:
        return _lost(notes, error)
    finally:
        _close(opened, list(opened))


def _wanted_by(process: StoppedProcess) -> list[Wanted]:
    """What must be opened for a process, each once, without what its watches need."""
    found: dict[str, Wanted] = {}
    for note in process.notes:
        if note.handle.kind is not HandleKind.INOTIFY:
            for each in DRIVERS[note.handle.kind].wants(note):
                found.setdefault(each.key, each)
    return list(found.values())


def _close(opened: Mapping[str, Opened], keys: Iterable[str]) -> None:
    """Close what is not needed any more; `opened` keeps the outcome."""
    for key in keys:
        each = opened[key]
        if each.descriptor is not None:
            os.close(each.descriptor)
            each.descriptor = None


def _lost(notes: Sequence[Note], error: OSError) -> list[ReboundHandle]:
    words = error.strerror or str(error)
    return [ReboundHandle(note.handle, HandleOutcome.LOST, words) for note in notes]


def _without_locks(
    lines: list[ReboundHandle], lost: Sequence[tuple[Note, object]]
) -> list[ReboundHandle]:
    if not lost:
        return lines
    handles = {note.handle for note, _ in lost}
    words = "another process has the lock now"
    return [
        ReboundHandle(line.handle, HandleOutcome.LOST, words) if line.handle in handles else line
        for line in lines
    ]
