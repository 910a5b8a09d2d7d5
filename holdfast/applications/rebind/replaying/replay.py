"""Puts everything back: opens files, replaces descriptors and maps, makes sockets, then adds
watches, then locks.

Order matters between processes: descriptions with locks are opened before anything else, so that
nobody else takes those locks; watches are added when we open nothing any more that they could
report; locks that belong to processes come last, when no descriptor of theirs is closed any more.
May be run again from the beginning. Invariant: a driver that fails, even by a mistake of ours,
loses the handles that it was asked for, and everybody else is finished.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from holdfast.applications.rebind.agent.steps import Steps, side_by_side, through, to_end
from holdfast.applications.rebind.handles import DRIVERS
from holdfast.applications.rebind.opening.finding import DENIED
from holdfast.applications.rebind.opening.opener import Opener, close_opened
from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.opening.requests import OpenedFiles, OpenRequest, OpenResult
from holdfast.applications.rebind.parking.notes import HandleNote, PlaceDetails
from holdfast.applications.rebind.parking.parked_datagrams import ParkedDatagrams
from holdfast.applications.rebind.parking.stopped_process import Processes, StoppedProcess
from holdfast.applications.rebind.replaying.datagrams import connect_again, connect_senders
from holdfast.applications.rebind.replaying.failures import words_of
from holdfast.applications.rebind.replaying.locks import take_flocks, take_locks
from holdfast.applications.rebind.replaying.sockets import NewSockets
from holdfast.applications.rebind.waited_pipes import WaitedPipes
from holdfast.model.handle import Handle, HandleKind, HandleOutcome
from holdfast.system.processes.acting_as import Rights

_MOST_OPEN = 1000
"""How many descriptors may be open here before some are passed on: a quarter of the kernel's
default hard limit (RLIMIT_NOFILE, 4096)."""

_Lines = list[ReboundHandle]

_WATCHING = (HandleKind.INOTIFY, HandleKind.FANOTIFY)
_LATER = frozenset({HandleKind.SOCKET, HandleKind.SENDER, *_WATCHING})
"""Kinds that have a pass of their own."""

_GONE = (HandleOutcome.FILE_MISSING, HandleOutcome.LOST)
"""What is not there has no lock either: that goes without saying."""


def put_back(
    processes: Processes, opener: Opener, directory: Path, datagrams: ParkedDatagrams
) -> list[ReboundHandle]:
    """Let all handles of these processes point to the new mounts; what became of each.

    `lock_again` comes next, when nobody opens anything any more. Processes that have ended are
    taken out, and those that do not do what is asked. Raises DeadlinePassed, StorageFailed when the
    new storage does not answer: then some handles point there and some are parked.
    """
    with WaitedPipes(processes):
        return _put_back(processes, opener, directory, datagrams)


def _put_back(
    processes: Processes, opener: Opener, directory: Path, datagrams: ParkedDatagrams
) -> list[ReboundHandle]:
    all_of = list(processes.values())
    lines: list[ReboundHandle] = []
    wanted: dict[int, list[OpenRequest]] = {}
    for process in all_of:
        plain = [note for note in process.notes if note.handle.kind not in _LATER]
        wanted[process.pid], lost = _requests(process, plain)
        lines += lost
    requests = _with_all_rights(wanted)
    opened: dict[str, OpenResult] = {}
    openings = OpenedFiles(opened)
    try:
        turns = _turns(_first(requests.values()), requests.values())
        opener.begin(turns)
        opened.update(opener.open(turns[0]))
        opener.let_pipes_go(turns[0])
        _together(turns[0], opened)
        take_flocks(processes, opened, opener.locks_until_ns)
        needed = Counter(each.key for mine in requests.values() for each in mine)

        def putting(process: StoppedProcess, turn: Sequence[OpenRequest]) -> Steps[_Lines]:
            opened.update(opener.open(turn))
            mine: _Lines = []
            with processes.unless_it_ends(process):
                mine = yield from _putting(process, openings, directory)
            keys = [each.key for each in requests[process.pid]]
            needed.subtract(keys)
            over = [key for key in keys if not needed[key]]
            close_opened(opened[key] for key in over)
            closed.update(over)
            return mine

        closed: set[str] = set()
        works = (putting(*each) for each in zip(all_of, turns[1:], strict=True))

        def has_room() -> bool:
            return len(opened) - len(closed) < _MOST_OPEN and processes.all_cooperate

        for mine in side_by_side(works, has_room):
            lines += mine
        lines += _put_sockets(processes, opener, openings, directory, datagrams)
        for kind in _WATCHING:
            for process in list(processes.values()):
                with processes.unless_it_ends(process):
                    lines += _watch(process, kind, opener, openings, directory)
    finally:
        close_opened(opened.values())
        for instance in openings.instances.values():
            os.close(instance)
    return lines


def lock_again(
    processes: Processes, lines: list[ReboundHandle], until_ns: int
) -> list[ReboundHandle]:
    """Let each take its own locks and leases; the outcomes with what somebody else has now.

    Nobody of us may have any of the files open: that would be in the way of leases. `until_ns`:
    how long it is waited for what somebody else has (CLOCK_MONOTONIC).
    """
    for process in list(processes.values()):
        with processes.unless_it_ends(process):
            lines = _without_locks(lines, take_locks(process, until_ns))
    return lines


def requests_for(
    processes: Processes, kinds: Collection[HandleKind]
) -> list[tuple[Handle, OpenRequest]]:
    """What the handles of these kinds need, each with the rights of its process. Opens nothing."""
    found = []
    for process in processes.values():
        for note in process.notes_of(*kinds):
            for each in DRIVERS[note.handle.kind].requests(note):
                _complete(each, process, note)
                found.append((note.handle, each))
    return found


def _first(requests: Iterable[Sequence[OpenRequest]]) -> list[OpenRequest]:
    """What has locks; then ends of FIFOs, those at first that are hung up."""
    whole = {each.key: each for mine in requests for each in mine}
    ends = [each for each in whole.values() if each.pipe is not None]
    locked = [each for each in whole.values() if each.pipe is None and each.locks]
    return locked + sorted(ends, key=lambda each: not (each.pipe and each.pipe.hung_up))


def _together(requests: Sequence[OpenRequest], opened: Mapping[str, OpenResult]) -> None:
    """Let none of the ends of a FIFO be moved when one cannot be: they talk to each other. Who has
    no right to it any more is left behind alone."""
    failed: dict[str, OpenResult] = {}
    ends = [(each.pipe.pipe, opened[each.key]) for each in requests if each.pipe is not None]
    for pipe, result in ends:
        if result.descriptor is None and result.note != DENIED:
            failed.setdefault(pipe, result)
    for pipe, result in ends:
        if pipe in failed and result.descriptor is not None:
            close_opened([result])
            result.outcome, result.note = failed[pipe].outcome, failed[pipe].note


def _turns(
    first: list[OpenRequest], requests: Iterable[Sequence[OpenRequest]]
) -> list[list[OpenRequest]]:
    """What is opened in which turn, each once: those at first, then what each process needs."""
    turns = [first]
    keys = {each.key for each in first}
    for mine in requests:
        turns.append([each for each in mine if each.key not in keys])
        keys.update(each.key for each in mine)
    return turns


def _putting(process: StoppedProcess, openings: OpenedFiles, directory: Path) -> Steps[_Lines]:
    lines: list[ReboundHandle] = []
    by_kind = process.notes_by_kind()
    for kind, driver in DRIVERS.items():
        notes = by_kind.get(kind)
        if kind in _LATER or not notes:
            continue
        work = partial(driver.rebind, process, notes, openings, directory)
        lines += yield from _alone(process, notes, work)
    return lines


def _put_sockets(
    processes: Processes,
    opener: Opener,
    openings: OpenedFiles,
    directory: Path,
    datagrams: ParkedDatagrams,
) -> _Lines:
    """Make new sockets, put them in the places of the old ones, and let them be reached."""
    wanted: dict[int, list[OpenRequest]] = {}
    lines: _Lines = []
    for process in processes.values():
        wanted[process.pid], lost = _requests(process, process.notes_of(HandleKind.SOCKET))
        lines += lost
    requests = {each.key: each for mine in _with_all_rights(wanted).values() for each in mine}
    if not requests:
        return lines + connect_senders(processes, {})
    places = opener.open(list(requests.values()))
    keys: dict[Handle, str] = {}
    try:
        with NewSockets(processes, places, directory, datagrams) as sockets:
            mine = replace(openings, opened=sockets.made)
            for process in list(processes.values()):
                notes = process.notes_of(HandleKind.SOCKET)
                keys.update((note.handle, note.details.key) for note in notes)
                work = partial(DRIVERS[HandleKind.SOCKET].rebind, process, notes, mine, directory)
                with processes.unless_it_ends(process):
                    lines += to_end(_alone(process, notes, work))
            lines += connect_senders(processes, sockets.made)
            failed = connect_again(processes, sockets.made)
            for key, words in sockets.take_names().items():
                failed[key] = "; ".join(filter(None, (failed.get(key), words)))
    finally:
        close_opened(places.values())
    why_not = {handle: failed[key] for handle, key in keys.items() if key in failed}
    return [
        replace(line, note="; ".join(filter(None, (line.note, why_not.get(line.handle)))))
        for line in lines
    ]


def _watch(
    process: StoppedProcess,
    kind: HandleKind,
    opener: Opener,
    openings: OpenedFiles,
    directory: Path,
) -> list[ReboundHandle]:
    requests, lines = _requests(process, process.notes_of(kind))
    notes = process.notes_of(kind)
    if not notes:
        return lines
    driver = DRIVERS[kind]
    opened = opener.open(requests)
    mine = replace(openings, opened=opened)
    try:
        work = partial(driver.rebind, process, notes, mine, directory)
        return lines + to_end(_alone(process, notes, work))
    finally:
        close_opened(opened.values())


_Work = Callable[[], _Lines | Steps[_Lines]]


def _alone(process: StoppedProcess, notes: Sequence[HandleNote], work: _Work) -> Steps[_Lines]:
    """What a driver makes of these handles: when it fails they are lost, and they alone.

    Raises ProcessLookupError when their process has ended.
    """
    try:
        return (yield from through(work()))
    except ProcessLookupError:
        raise
    except Exception as error:
        words = words_of(error, process.in_words)
        return [ReboundHandle(note.handle, HandleOutcome.LOST, words) for note in notes]


def _requests(
    process: StoppedProcess, notes: Sequence[HandleNote]
) -> tuple[list[OpenRequest], list[ReboundHandle]]:
    """What these notes need, each once, with what tells the files apart.

    Those that no request can be made of are taken out of the process's notes, and told as lost.
    """
    found: dict[str, OpenRequest] = {}
    lost: dict[HandleNote, ReboundHandle] = {}
    for note in notes:
        try:
            mine = DRIVERS[note.handle.kind].requests(note)
        except Exception as error:
            words = words_of(error, process.in_words)
            lost[note] = ReboundHandle(note.handle, HandleOutcome.LOST, words)
            continue
        for each in mine:
            known = found.get(each.key)
            if known is None:
                found[each.key] = each
                _complete(each, process, note)
            elif each.locks != known.locks:  # a lock belongs to all who share the description
                locks = tuple(dict.fromkeys((*known.locks, *each.locks)))
                found[each.key] = replace(known, locks=locks)
    if lost:
        process.notes = [note for note in process.notes if note not in lost]
    return list(found.values()), list(lost.values())


def _complete(request: OpenRequest, process: StoppedProcess, note: HandleNote) -> None:
    """Add what tells its file from others, and who gets it."""
    inside = note.details.inside
    request.shows = note.handle.inside[: len(note.handle.inside) - len(inside)].rstrip("/")
    request.was = request.was or note.details.was
    request.rights = process.rights
    if isinstance(note.details, PlaceDetails):
        request.above = note.details.above


def _with_all_rights(requests: Mapping[int, Sequence[OpenRequest]]) -> dict[int, list[OpenRequest]]:
    """What processes share is given to all of them: it is asked for with the rights of each."""
    rights: dict[str, tuple[Rights, ...]] = {}
    for mine in requests.values():
        for each in mine:
            known = rights.setdefault(each.key, each.rights)
            if known != each.rights:
                rights[each.key] = tuple(dict.fromkeys((*known, *each.rights)))
    return {
        pid: [
            each if rights[each.key] == each.rights else replace(each, rights=rights[each.key])
            for each in mine
        ]
        for pid, mine in requests.items()
    }


def _without_locks(lines: list[ReboundHandle], lost: Mapping[Handle, str]) -> list[ReboundHandle]:
    if not lost:
        return lines
    return [
        ReboundHandle(line.handle, HandleOutcome.LOST, lost[line.handle])
        if line.handle in lost and line.outcome not in _GONE
        else line
        for line in lines
    ]
