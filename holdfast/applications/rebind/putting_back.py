"""The passes of a rebind: open everything, put it in its places, then watches, then locks.

Order matters between processes: descriptions with locks are opened before anything else, so that
nobody takes those locks; watches are added when we open nothing any more that they could tell of;
locks that belong to processes come last, when no descriptor of theirs is closed any more. May be
run again from the beginning.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from holdfast.applications.rebind.handles import DRIVERS
from holdfast.applications.rebind.locks import take_locks
from holdfast.applications.rebind.opener import Opener, close_opened
from holdfast.applications.rebind.outcomes import ReboundHandle
from holdfast.applications.rebind.parking import Note
from holdfast.applications.rebind.stopped import Processes, StoppedProcess
from holdfast.applications.rebind.wanted import Opened, Openings, Wanted
from holdfast.model.handle import HandleKind, HandleOutcome


def put_back(processes: Processes, opener: Opener, directory: Path) -> list[ReboundHandle]:
    """Let all handles of these processes point to the new mounts; what became of each.

    Processes that have ended are taken out, and those that do not do what is asked. Raises
    DeadlinePassed, StorageFailed when the new storage does not answer: then some handles point
    there and some are parked.
    """
    all_of = list(processes.values())
    wanted = {process.pid: _wanted_by(process) for process in all_of}
    lines: list[ReboundHandle] = []
    opened: dict[str, Opened] = {}
    openings = Openings(opened)
    try:
        turns = _turns(_locked(wanted.values()), wanted.values())
        opened.update(opener.open(turns[0], then=turns[1]))
        last = {each.key: pid for pid, mine in wanted.items() for each in mine}
        for turn, process in enumerate(all_of, 1):
            opened.update(opener.open(turns[turn], then=turns[turn + 1]))
            with processes.unless_it_ends(process):
                lines += _put(process, openings, directory)
            keys = [each.key for each in wanted[process.pid] if last[each.key] == process.pid]
            close_opened(opened[key] for key in keys)
        for process in list(processes.values()):
            with processes.unless_it_ends(process):
                lines += _watch(process, opener, openings, directory)
    finally:
        close_opened(opened.values())
        for instance in openings.instances.values():
            os.close(instance)
    for process in list(processes.values()):
        with processes.unless_it_ends(process):
            lines = _without_locks(lines, take_locks(process))
    return lines


def _locked(wanted: Iterable[Sequence[Wanted]]) -> list[Wanted]:
    return list({each.key: each for mine in wanted for each in mine if each.locks}.values())


def _turns(first: list[Wanted], wanted: Iterable[Sequence[Wanted]]) -> list[list[Wanted]]:
    """What is opened in which turn, each once: those at first, then what each process needs."""
    turns = [first]
    keys = {each.key for each in first}
    for mine in wanted:
        turns.append([each for each in mine if each.key not in keys])
        keys.update(each.key for each in mine)
    return [*turns, []]


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
        close_opened(opened.values())


def _wanted_by(process: StoppedProcess) -> list[Wanted]:
    """What must be opened for a process, each once, without what its watches need."""
    found: dict[str, Wanted] = {}
    for note in process.notes:
        if note.handle.kind is not HandleKind.INOTIFY:
            for each in DRIVERS[note.handle.kind].wants(note):
                found.setdefault(each.key, each)
    return list(found.values())


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
