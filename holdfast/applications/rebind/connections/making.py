"""Makes new connections, equal to others: same names, peers, options, and unread bytes.

An end belongs to the inode of the name that it was bound to, or that its listener was; nothing but
closing it frees that. So while all who have either end stand still, another connection is made
through a socket that listens under the very bytes of that name in a file system in memory, by the
processes that each end is to see (SO_PEERCRED). What lies unread is copied, never taken. Invariant:
until `exchange` the old connections are as they were, and nobody but us has the new ones.
"""

from __future__ import annotations

import os
import resource
import secrets
import socket
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from holdfast.applications.rebind.connections.on_its_way import refuse_on_its_way
from holdfast.applications.rebind.handles.connection import refusal
from holdfast.applications.rebind.parking.notes import ConnectionDetails, HandleNote
from holdfast.applications.rebind.parking.own_sockets import as_seen, make_socket
from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
from holdfast.errors import Blocked, Refused
from holdfast.late_dataclass import dataclass
from holdfast.model.handle import HandleKind
from holdfast.system.children.closing import close_elsewhere
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.files import bound_socket
from holdfast.system.files.socket_names import SocketFile, bind_hidden
from holdfast.system.files.unread_messages import (
    CannotBeKept,
    UnreadMessage,
    send_again,
    unread_messages,
)
from holdfast.system.mounts.detached import mount_detached
from holdfast.system.processes.listening import connect_as, listen_as

_CONNECTION = HandleKind.CONNECTION
_SECONDS = 5.0
"""For what children do in memory: milliseconds."""
_BACKLOG, _STRANGERS = 16, 8
"""Who can see our descriptor in his process may connect, too: so many are looked at."""
_TOKEN_BYTES = 16
_MOST = 10_000
"""Ends, some hundred µs each, while everybody stands."""
_OPEN_TO_ALL = SocketFile(0o666, 0, 0)
"""Nobody gets there but by a descriptor that we have given."""

_Holder = tuple[StoppedProcess, HandleNote]
_Caller = tuple[int, int, int]


@dataclass(eq=False)
class _Listener:
    """A socket that listens in memory."""

    end: socket.socket
    place: int
    """An O_PATH descriptor of its file."""


class NewConnections:
    """The new ends of one move. `make`, then `exchange`, then `close`."""

    def __init__(self) -> None:
        self.ends: dict[int, socket.socket] = {}
        """By the number of the new socket."""
        self._changed: dict[int, HandleNote] = {}
        """Notes that say what was made, by id() of those before."""

    def make(self, processes: Sequence[StoppedProcess]) -> None:
        """Make what takes the place of each connection, and say so in the notes.

        Raises Blocked, OSError; nothing of any process is changed then.
        """
        holders: dict[int, list[_Holder]] = {}
        for process in processes:
            for note in process.notes_of(_CONNECTION):
                holders.setdefault(note.handle.inode, []).append((process, note))
        if not holders:
            return
        _refuse_too_many(holders)
        refuse_on_its_way([each for each in processes if each.notes_of(_CONNECTION)], holders)
        try:
            with _Workshop(processes) as workshop:
                for number, mine in holders.items():
                    other = mine[0][1].handle.start
                    if other < number and other in holders:
                        continue  # with the other end
                    self._make(workshop, mine, holders.get(other, []))
        except BaseException as error:
            self.close()
            if isinstance(error, ProcessLookupError):
                raise Refused(
                    f"a connection cannot be moved: {error}", "Look at that process, or try again."
                ) from error
            raise
        for process in processes:
            process.notes = [self._changed.get(id(note), note) for note in process.notes]
        self._changed.clear()

    def _make(self, workshop: _Workshop, mine: list[_Holder], others: list[_Holder]) -> None:
        handle, is_over = mine[0][1].handle, _details(mine[0]).is_over
        if not others and not is_over:
            raise refusal(handle, "somebody who does not stand still has the other end")
        if not others and handle.mode == "peer":
            return  # it keeps nothing busy
        if not _details(mine[0]).name:
            mine, others = others, mine
        if not mine:
            raise refusal(handle, "neither end has a name")
        try:
            made = workshop.pair(mine, others)
        except CannotBeKept as error:
            raise refusal(mine[0][1].handle, str(error)) from error
        for (end, words), holders in zip(made, (mine, others), strict=True):
            number = os.fstat(end.fileno()).st_ino
            self.ends[number] = end
            for _process, note in holders:
                details = replace(note.details_as(ConnectionDetails), new=number, words=words)
                self._changed[id(note)] = HandleNote(note.handle, details)
        if not others:
            self.ends.pop(os.fstat(made[1][0].fileno()).st_ino).close()

    def close(self) -> None:
        """Close ours; those that were given live on. Idempotent."""
        while self.ends:
            self.ends.popitem()[1].close()


class _Workshop:
    """What is needed while they are made. Use as a context."""

    def __init__(self, processes: Sequence[StoppedProcess]) -> None:
        self._processes = {process.pid: process for process in processes}
        self._listeners: dict[tuple[int, str, _Caller, tuple[int, ...]], _Listener] = {}
        self._given: dict[tuple[int, int], int] = {}
        """By process and place the number of the place there."""
        self._strangers: list[socket.socket] = []
        """Connections of somebody else."""
        self._folder = -1
        self._count = 0

    def __enter__(self) -> _Workshop:
        self._folder = mount_detached("tmpfs", {"mode": "0700"})
        return self

    def __exit__(self, *_: object) -> None:
        for (pid, _place), number in self._given.items():
            with suppress(OSError):
                self._processes[pid].close_numbers([number], None)
        for each in self._listeners.values():
            os.close(each.place)
        os.close(self._folder)
        close_elsewhere([*(each.end for each in self._listeners.values()), *self._strangers])

    def pair(
        self, mine: list[_Holder], others: list[_Holder]
    ) -> tuple[tuple[socket.socket, str], tuple[socket.socket, str]]:
        """The new end with the name, and the other one; what is not as it was. Raises
        CannotBeKept, Blocked, OSError."""
        here = mine[0][1].details_as(ConnectionDetails)
        there = others[0][1].details_as(ConnectionDetails) if others else None
        for name in (here.name, here.peer_name):
            if name.startswith("00"):
                raise CannotBeKept("an end of it has an abstract name, which nobody else can have")
        listener = self._listener(mine, there)
        far = self._connected(others or mine, listener, here)
        near = None
        try:
            near = self._accepted(listener.end, far)
            _copy(mine, far)
            if there is None:
                if here.has_failed:
                    near.send(b"\0", socket.MSG_DONTWAIT)
            else:
                _copy(others, near)
                if here.read_to_end:
                    near.shutdown(socket.SHUT_RD)
                if there.read_to_end:
                    far.shutdown(socket.SHUT_RD)
                _finish(far, others)
            _finish(near, mine)
            words = (_difference(near, here), "" if there is None else _difference(far, there))
        except BaseException:
            far.close()
            if near is not None:
                near.close()
            raise
        return (near, words[0]), (far, words[1])

    # --- the end that listens -------------------------------------------------------------------

    def _listener(self, holders: list[_Holder], there: ConnectionDetails | None) -> _Listener:
        process, note = _at_home(holders)
        here = note.details_as(ConnectionDetails)
        caller = there.caller if there is not None else as_seen(process)
        groups = there.groups if there is not None else ()
        key = (here.type, here.name, caller, groups)
        if key not in self._listeners:
            number = make_socket(process, here.type | socket.SOCK_CLOEXEC, note.handle.thread_id)
            try:
                end = self._taken(process, note, number)
                try:
                    self._bind(end, here.name)
                    by = self._processes.get(caller[0])
                    if by is process and as_seen(by) == caller:
                        process.tracee.call(
                            "listen", number, _BACKLOG, thread_id=note.handle.thread_id
                        )
                    elif by is not None and as_seen(by) == caller:
                        self._called_in(by, end, "listen", _BACKLOG)
                    if not _listens_as(end, caller):
                        work = partial(listen_as, end, _BACKLOG, *caller, groups)
                        in_expendable_child(work, _SECONDS, "a socket in memory")
                    place = bound_socket.file_of(end.fileno())
                except BaseException:
                    end.close()
                    raise
            finally:
                process.close_numbers([number], note.handle.thread_id)
            os.set_blocking(end.fileno(), False)
            self._listeners[key] = _Listener(end, place)
        return self._listeners[key]

    def _bind(self, end: socket.socket, name: str) -> None:
        self._count += 1
        hidden = str(self._count)
        work = partial(
            bind_hidden, self._folder, hidden, bytes.fromhex(name), end, _OPEN_TO_ALL, None
        )
        in_expendable_child(work, _SECONDS, "a file system in memory")

    # --- the end that connects ------------------------------------------------------------------

    def _connected(
        self, makers: list[_Holder], listener: _Listener, here: ConnectionDetails
    ) -> socket.socket:
        process, note = _at_home(makers)
        kind = here.type | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        number = make_socket(process, kind, note.handle.thread_id)
        try:
            end = self._taken(process, note, number)
            try:
                if here.peer_name:
                    self._bind(end, here.peer_name)
                inside = number if note.handle.thread_id is None else None
                self._connect(end, process, inside, listener, here)
            except BaseException:
                end.close()
                raise
            return end
        finally:
            process.close_numbers([number], note.handle.thread_id)

    def _connect(
        self,
        end: socket.socket,
        maker: StoppedProcess,
        inside: int | None,
        listener: _Listener,
        here: ConnectionDetails,
    ) -> None:
        """By the process that the other end is to see, if it stands; else by one of ours."""
        by = self._processes.get(here.caller[0])
        if by is not None and as_seen(by) == here.caller:
            place = self._place_in(by, listener)
            address = struct.pack("=H", socket.AF_UNIX) + f"/proc/self/fd/{place}\0".encode()
            by.tracee.write(by.tracee.scratch + 64, address)
            arguments = (by.tracee.scratch + 64, len(address))
            with suppress(FileNotFoundError, PermissionError, NotADirectoryError):
                if by is maker and inside is not None:
                    by.tracee.call("connect", inside, *arguments)
                else:
                    self._called_in(by, end, "connect", *arguments, address=address)
                return
        path = f"/proc/self/fd/{listener.place}"
        work = partial(connect_as, end, path, *here.caller, here.groups)
        in_expendable_child(work, _SECONDS, "a socket in memory")

    def _accepted(self, listening: socket.socket, far: socket.socket) -> socket.socket:
        """The other end of `far`, and of nothing else: what it sends must arrive."""
        token = secrets.token_bytes(_TOKEN_BYTES)
        with suppress(OSError):
            far.send(token, socket.MSG_DONTWAIT)
            for _ in range(_STRANGERS):
                near, _address = listening.accept()
                self._strangers.append(near)
                with suppress(OSError):
                    look = socket.MSG_DONTWAIT | socket.MSG_PEEK  # takes nothing that is sent along
                    if near.recv(2 * _TOKEN_BYTES, look) == token:
                        near.recv(_TOKEN_BYTES, socket.MSG_DONTWAIT)
                        return self._strangers.pop()
        raise CannotBeKept("somebody else, or nobody, connects to what is made for it")

    def _place_in(self, process: StoppedProcess, listener: _Listener) -> int:
        key = (process.pid, listener.place)
        if key not in self._given:
            self._given[key] = process.tracee.give(listener.place)
        return self._given[key]

    def _called_in(
        self,
        process: StoppedProcess,
        end: socket.socket,
        call: str,
        *arguments: int,
        address: bytes = b"",
    ) -> None:
        """A system call on a socket of ours by another process than has made it."""
        number = process.tracee.give(end.fileno())
        try:
            if address:  # to give it has used that memory
                process.tracee.write(process.tracee.scratch + 64, address)
            process.tracee.call(call, number, *arguments)
        finally:
            process.close_numbers([number], None)

    def _taken(self, process: StoppedProcess, note: HandleNote, number: int) -> socket.socket:
        copy = process.tracee.channel(note.handle.thread_id).take(number)
        end = socket.socket(fileno=copy)
        wanted = note.details_as(ConnectionDetails).type
        if (end.family, end.type) != (socket.AF_UNIX, wanted) or end.getsockname():
            end.close()
            raise process.tracee.give_up("make a socket")
        return end


def _refuse_too_many(holders: Mapping[int, list[_Holder]]) -> None:
    """Raise Blocked when it would take too long, or more descriptors than we may have."""
    most = min(_MOST, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
    if len(holders) > most:
        ends = Counter(process.in_words for mine in holders.values() for process, _ in mine)
        first, count = ends.most_common(1)[0]
        raise Blocked(
            f"{len(holders)} ends of connections would be moved, {count} of them in {first}:"
            f" at most {most} can be in one move",
            "Let some of them be closed, or give this command a higher limit (prlimit --nofile).",
        )


def _at_home(holders: list[_Holder]) -> _Holder:
    """One in whose network namespace the socket is, if there is any."""
    return next((each for each in holders if _details(each).at_home), holders[0])


def _details(holder: _Holder) -> ConnectionDetails:
    return holder[1].details_as(ConnectionDetails)


def _listens_as(end: socket.socket, caller: _Caller) -> bool:
    listens = end.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    return bool(listens) and bound_socket.listener_of(end) == caller


def _copy(holders: list[_Holder], sender: socket.socket) -> None:
    """What lies unread at an old end, sent to the new one in its place."""
    process, note = holders[0]
    with process.socket_of(note.handle) as old:
        messages: list[UnreadMessage] = unread_messages(old)
    send_again(sender, messages)


def _finish(end: socket.socket, holders: list[_Holder]) -> None:
    """All that was set on the old end."""
    note = holders[0][1]
    details = note.details_as(ConnectionDetails)
    os.fchown(end.fileno(), *details.owner_ids)
    missing = bound_socket.set_options(end, details.options)
    if missing:
        raise CannotBeKept(f"its options cannot be set again: {', '.join(missing)}")
    os.set_blocking(end.fileno(), not note.handle.flags & os.O_NONBLOCK)


def _difference(end: socket.socket, details: ConnectionDetails) -> str:
    names = ("process", "user", "group")
    told = zip(names, details.caller, bound_socket.listener_of(end), strict=True)
    return "; ".join(
        f"sees {name} {new} in place of {old} (SO_PEERCRED)"
        for name, old, new in told
        if old != new
    )
