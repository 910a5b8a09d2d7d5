"""Puts new connections into the places of the old ones, in all processes that have an end of them.

Two turns: first every process gets a spare descriptor of each new end that it is to have, then the
numbers of the old ones become duplicates of those. Invariant: before the first number is replaced,
each process that has an end has the new one, too. So whoever comes after our death finds in the
processes themselves whether the second turn can have begun (every spare is there) and finishes it,
or leaves the old connection, which is whole. Spares go when the processes do (see
descriptor_tables); past the deadline, when nobody has come, they stay.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Mapping
from contextlib import suppress

from holdfast.applications.rebind.agent.steps import to_end
from holdfast.applications.rebind.connections.making import NewConnections
from holdfast.applications.rebind.connections.waited_for import WaitedFor
from holdfast.applications.rebind.handles.epoll import register_again
from holdfast.applications.rebind.handles.signals import give_owners, tell_by_signal
from holdfast.applications.rebind.opening.requests import OpenedFiles
from holdfast.applications.rebind.parking.notes import ConnectionDetails, HandleNote
from holdfast.applications.rebind.parking.stopped_process import (
    Processes,
    StoppedProcess,
    by_thread,
)
from holdfast.applications.rebind.tracing.errors import gone
from holdfast.late_dataclass import dataclass
from holdfast.model.handle import HandleKind
from holdfast.system.proc import link, names


@dataclass(eq=False)
class _EndTable:
    """A table of descriptors that has ends of connections."""

    process: StoppedProcess
    thread_id: int | None
    notes: list[HandleNote]

    def news(self) -> list[int]:
        """The new sockets that it is to have, each once."""
        return list(dict.fromkeys(_new(note) for note in self.notes if _new(note)))


def exchange(processes: Processes, connections: NewConnections) -> None:
    """Let everybody have the new ends. May be run again, also by another process: with none of
    `connections` it finishes what was begun, and leaves what was not. Raises OSError."""
    tables = [
        _EndTable(process, thread_id, notes)
        for process in processes.values()
        for thread_id, notes in by_thread(process.notes_of(HandleKind.CONNECTION)).items()
    ]
    for table in tables:
        with processes.unless_it_ends(table.process):
            _give(table, connections)
    there: dict[int, dict[int, int]] = {}
    for table in tables:
        if table.process.pid in processes:
            with processes.unless_it_ends(table.process):
                there[id(table)] = _numbers(table)
    tables = [each for each in tables if each.process.pid in processes]
    left_out = _incomplete(tables, there)
    holders = [
        (table.process, table.thread_id, note)
        for table in tables
        for note in table.notes
        if _new(note)
    ]
    with WaitedFor(holders) as old:
        failed = _replace_all(processes, tables, there, left_out, old)
    connections.close()
    if failed:
        raise failed[0]


def _replace_all(
    processes: Processes,
    tables: list[_EndTable],
    there: Mapping[int, Mapping[int, int]],
    left_out: set[int],
    old: WaitedFor,
) -> list[OSError]:
    """What went wrong; the other ends are replaced all the same."""
    openings = OpenedFiles()
    failed: list[OSError] = []
    old.leave(left_out)
    for table in tables:
        is_replaced = False
        try:
            with processes.unless_it_ends(table.process):
                _replace(table, there[id(table)], left_out, openings)
                is_replaced = True
        except OSError as error:
            failed.append(error)
        if not is_replaced:
            old.leave(note.handle.inode for note in table.notes)
    old.make_ready()
    return failed


def _give(table: _EndTable, connections: NewConnections) -> None:
    wanted = [connections.ends[each].fileno() for each in table.news() if each in connections.ends]
    if not wanted:
        return
    channel = table.process.tracee.channel(table.thread_id)
    try:
        channel.give(wanted)
    except OSError as error:
        if error.errno != errno.EMFILE or not table.process.tracee.allow_more_descriptors():
            raise
        channel.give(wanted)


def _numbers(table: _EndTable) -> dict[int, int]:
    """Of each new socket that it has a number, as far as it has them. Raises ProcessLookupError
    when it has ended: nobody who stands closes anything."""
    wanted = {f"socket:[{each}]": each for each in table.news()}
    folder = f"{table.process.folder(table.thread_id)}/fd"
    found: dict[int, int] = {}
    seen: set[int] = set()
    with suppress(OSError):
        for name in names(folder):
            seen.add(int(name))
            with suppress(OSError):  # a path that is too long to be told
                new = wanted.get(link(f"{folder}/{name}"))
                if new is not None:
                    found.setdefault(new, int(name))
    if not seen.issuperset(note.handle.number or 0 for note in table.notes):
        raise gone(table.process.pid)
    return found


def _incomplete(tables: list[_EndTable], there: Mapping[int, Mapping[int, int]]) -> set[int]:
    """The old ends of connections whose exchange cannot have begun: somebody lacks his spare."""
    found: set[int] = set()
    for table in tables:
        for note in table.notes:
            if _new(note) and _new(note) not in there[id(table)]:
                found.update((note.handle.inode, note.handle.start))
    return found - {0}


def _replace(
    table: _EndTable, there: Mapping[int, int], left_out: set[int], openings: OpenedFiles
) -> None:
    process, thread_id = table.process, table.thread_id
    notes = [note for note in table.notes if _new(note) and note.handle.inode not in left_out]
    for note in notes:
        if note.handle.flags & os.O_ASYNC:
            _tell_nobody(process, note)
    calls = [
        ("dup3", (there[_new(note)], note.handle.number or 0, note.handle.flags & os.O_CLOEXEC))
        for note in notes
        if there[_new(note)] != note.handle.number
    ]
    for result in to_end(process.tracee.calling_many(calls, thread_id)):
        if result < 0:
            raise OSError(-result, os.strerror(-result), f"/proc/{process.pid}")
    for note in give_owners(process, notes, openings):
        tell_by_signal(process, note, os.O_NONBLOCK)
    register_again(process, notes)


def _tell_nobody(process: StoppedProcess, note: HandleNote) -> None:
    """Send no signal because an end is replaced after the other (O_ASYNC)."""
    with process.copy_of(note.handle) as copy:
        flags = fcntl.fcntl(copy, fcntl.F_GETFL)
        fcntl.fcntl(copy, fcntl.F_SETFL, flags & ~os.O_ASYNC)


def _new(note: HandleNote) -> int:
    return note.details_as(ConnectionDetails).new
