"""Puts everything back: opens files, replaces descriptors and maps, then adds watches, then locks.

Order matters between processes: descriptions with locks are opened before anything else, so that
nobody else takes those locks; watches are added when we open nothing any more that they could
report; locks that belong to processes come last, when no descriptor of theirs is closed any more.
May be run again from the beginning.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from holdfast.applications.rebind.handles import DRIVERS
from holdfast.applications.rebind.locks import take_flocks, take_locks
from holdfast.applications.rebind.opening.opener import Opener, close_opened
from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.opening.requests import OpenedFiles, OpenRequest, OpenResult
from holdfast.applications.rebind.parking.notes import HandleNote
from holdfast.applications.rebind.parking.stopped_process import Processes, StoppedProcess
from holdfast.model.handle import HandleKind, HandleOutcome
from holdfast.system.acting_as import Rights


def put_back(processes: Processes, opener: Opener, directory: Path) -> list[ReboundHandle]:
    """Let all handles of these processes point to the new mounts; what became of each.

    `lock_again` comes next, when nobody opens anything any more. Processes that have ended are
    taken out, and those that do not do what is asked. Raises DeadlinePassed, StorageFailed when the
    new storage does not answer: then some handles point there and some are parked.
    """
    all_of = list(processes.values())
    requests = _with_all_rights({process.pid: _requests_of(process) for process in all_of})
    lines: list[ReboundHandle] = []
    opened: dict[str, OpenResult] = {}
    openings = OpenedFiles(opened)
    try:
        turns = _turns(_locked(requests.values()), requests.values())
        opened.update(opener.open(turns[0], then=turns[1]))
        take_flocks(processes, opened)
        last = {each.key: pid for pid, mine in requests.items() for each in mine}
        for turn, process in enumerate(all_of, 1):
            opened.update(opener.open(turns[turn], then=turns[turn + 1]))
            with processes.unless_it_ends(process):
                lines += _put(process, openings, directory)
            keys = [each.key for each in requests[process.pid] if last[each.key] == process.pid]
            close_opened(opened[key] for key in keys)
        for process in list(processes.values()):
            with processes.unless_it_ends(process):
                lines += _watch(process, opener, openings, directory)
    finally:
        close_opened(opened.values())
        for instance in openings.instances.values():
            os.close(instance)
    return lines


def lock_again(processes: Processes, lines: list[ReboundHandle]) -> list[ReboundHandle]:
    """Let each take its own locks and leases; the outcomes with what somebody else has now.

    Nobody of us may have any of the files open: that would be in the way of leases.
    """
    for process in list(processes.values()):
        with processes.unless_it_ends(process):
            lines = _without_locks(lines, take_locks(process))
    return lines


def _locked(requests: Iterable[Sequence[OpenRequest]]) -> list[OpenRequest]:
    return list({each.key: each for mine in requests for each in mine if each.locks}.values())


def _turns(
    first: list[OpenRequest], requests: Iterable[Sequence[OpenRequest]]
) -> list[list[OpenRequest]]:
    """What is opened in which turn, each once: those at first, then what each process needs."""
    turns = [first]
    keys = {each.key for each in first}
    for mine in requests:
        turns.append([each for each in mine if each.key not in keys])
        keys.update(each.key for each in mine)
    return [*turns, []]


def _put(process: StoppedProcess, openings: OpenedFiles, directory: Path) -> list[ReboundHandle]:
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
    process: StoppedProcess, opener: Opener, openings: OpenedFiles, directory: Path
) -> list[ReboundHandle]:
    notes = process.notes_of(HandleKind.INOTIFY)
    if not notes:
        return []
    driver = DRIVERS[HandleKind.INOTIFY]
    opened = opener.open(_requests(process, notes))
    try:
        return driver.rebind(process, notes, replace(openings, opened=opened), directory)
    except ProcessLookupError:
        raise
    except OSError as error:
        return _lost(notes, error)
    finally:
        close_opened(opened.values())


def _requests_of(process: StoppedProcess) -> list[OpenRequest]:
    """What must be opened for a process, each once, without what its watches need."""
    return _requests(process, [each for each in process.notes if _is_no_watch(each)])


def _is_no_watch(note: HandleNote) -> bool:
    return note.handle.kind is not HandleKind.INOTIFY


def _requests(process: StoppedProcess, notes: Sequence[HandleNote]) -> list[OpenRequest]:
    """What these notes need, each once, with what tells the files apart."""
    found: dict[str, OpenRequest] = {}
    for note in notes:
        inside = note.details.inside
        shows = note.handle.inside[: len(note.handle.inside) - len(inside)].rstrip("/")
        was = note.details.was
        for each in DRIVERS[note.handle.kind].requests(note):
            if each.key not in found:
                found[each.key] = replace(
                    each, was=each.was or was, rights=process.rights, shows=shows
                )
    return list(found.values())


def _with_all_rights(requests: Mapping[int, Sequence[OpenRequest]]) -> dict[int, list[OpenRequest]]:
    """What processes share is given to all of them: it is asked for with the rights of each."""
    rights: dict[str, dict[Rights, None]] = {}
    for mine in requests.values():
        for each in mine:
            rights.setdefault(each.key, {}).update(dict.fromkeys(each.rights))
    return {
        pid: [
            each if len(rights[each.key]) == 1 else replace(each, rights=tuple(rights[each.key]))
            for each in mine
        ]
        for pid, mine in requests.items()
    }


def _lost(notes: Sequence[HandleNote], error: OSError) -> list[ReboundHandle]:
    words = error.strerror or str(error)
    return [ReboundHandle(note.handle, HandleOutcome.LOST, words) for note in notes]


def _without_locks(
    lines: list[ReboundHandle], lost: Sequence[tuple[HandleNote, object]]
) -> list[ReboundHandle]:
    if not lost:
        return lines
    handles = {note.handle for note, _ in lost}
    words = "another process has the lock now"
    return [
        ReboundHandle(line.handle, HandleOutcome.LOST, words) if line.handle in handles else line
        for line in lines
    ]
