"""Makes new sockets in the place of bound ones, each in a process that had the old one.

In that process because a socket belongs to the network namespace, and has the label, of whoever
makes it; and listen(2) is called there by whom clients shall see. Bound in a hidden directory of
the new file system, it is put in the place of all old ones; only then does it take the name from
the dead socket's file: from that instant on connections come, and none may be lost any more.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from holdfast.applications.rebind.opening.lifted_protection import agent_without_protection
from holdfast.applications.rebind.opening.requests import OpenResult
from holdfast.applications.rebind.parking.hidden_names import HiddenName, note_down
from holdfast.applications.rebind.parking.notes import HandleNote, SocketDetails
from holdfast.applications.rebind.parking.own_sockets import as_seen, make_socket
from holdfast.applications.rebind.parking.parked_datagrams import ParkedDatagrams
from holdfast.applications.rebind.parking.stopped_process import Processes, StoppedProcess
from holdfast.applications.rebind.replaying.failures import words_of
from holdfast.errors import DeadlinePassed, HoldfastError
from holdfast.model.handle import HandleKind, HandleOutcome
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.files import bound_socket
from holdfast.system.files.socket_names import (
    SocketFile,
    bind_hidden,
    put_in_place,
    remove_hidden,
)
from holdfast.system.processes.listening import listen_as

_SECONDS = 5.0
"""For what is done on the new storage for one socket: milliseconds where nothing hangs."""

T = TypeVar("T")


class _Hidden(NamedTuple):
    """Where a socket is bound that has not its name yet."""

    hidden: str
    name: bytes
    """What it was bound to."""
    mount_id: int


_Holder = tuple[StoppedProcess, HandleNote]


class NewSockets:
    """The new sockets of one move, by key. Use as a context, which closes our descriptors."""

    def __init__(
        self,
        processes: Processes,
        places: Mapping[str, OpenResult],
        directory: Path,
        datagrams: ParkedDatagrams,
    ) -> None:
        """`places`: of each, the directory where it has its name."""
        self._processes = processes
        self._places = places
        self._directory = directory
        self._datagrams = datagrams
        self._hidden: dict[str, _Hidden] = {}
        self.made: dict[str, OpenResult] = {}

    def __enter__(self) -> NewSockets:
        """Raises DeadlinePassed when the new storage does not answer."""
        try:
            for key, place in self._places.items():
                self.made[key] = self._make_or_lose(key, place)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.made.values():
            if each.descriptor is not None:
                os.close(each.descriptor)
                each.descriptor = None

    def take_names(self) -> dict[str, str]:
        """Let each have its name, and be reached; of those that have it not, why, by key.

        Raises DeadlinePassed when the new storage does not answer.
        """
        failed = {}
        for key, it in self._hidden.items():
            place = self._places[key]
            assert place.descriptor is not None
            last = place.name.rpartition("/")[2]
            work = partial(put_in_place, place.descriptor, it.hidden, it.name, last, place.replaces)
            try:
                if not self._on_storage(place, it.mount_id, work):
                    failed[key] = "without a name: something else has it now"
            except DeadlinePassed:
                raise
            except Exception as error:
                failed[key] = f"without a name: {words_of(error, 'a process')}"
        return failed

    # --- one socket -----------------------------------------------------------------------------

    def _make_or_lose(self, key: str, place: OpenResult) -> OpenResult:
        try:
            return self._make(key, place)
        except DeadlinePassed:
            raise
        except Exception as error:
            return OpenResult(None, HandleOutcome.LOST, words_of(error, "a process"))

    def _make(self, key: str, place: OpenResult) -> OpenResult:
        if place.descriptor is None:
            return OpenResult(None, place.outcome, place.note)
        for process, note in self._makers(key):
            with self._processes.unless_it_ends(process):
                end, words = self._made_in(process, note, place)
                told = "; ".join(filter(None, (place.note, words)))
                return OpenResult(end.detach(), place.outcome, told)
        return OpenResult(None, HandleOutcome.LOST, "no process is left that could make it")

    def _makers(self, key: str) -> Sequence[_Holder]:
        """The processes that have it, in the order in which they are asked: who listened first."""
        holders = self._holders(key)
        listener = holders[0][1].details_as(SocketDetails).listener[0] if holders else 0
        home = [each for each in holders if each[1].details_as(SocketDetails).at_home]
        return sorted(home, key=lambda each: each[0].pid != listener)

    def _holders(self, key: str) -> list[_Holder]:
        return [
            (process, note)
            for process in self._processes.values()
            for note in process.notes_of(HandleKind.SOCKET)
            if note.details.key == key
        ]

    def _made_in(
        self, process: StoppedProcess, note: HandleNote, place: OpenResult
    ) -> tuple[socket.socket, str]:
        """The new socket, bound, listening, without its name; and what is not as it was."""
        details, thread_id = note.details_as(SocketDetails), note.handle.thread_id
        kind = details.type | socket.SOCK_CLOEXEC
        number = make_socket(process, kind, thread_id)
        end = None
        try:
            end = socket.socket(fileno=process.tracee.channel(thread_id).take(number))
            if (end.family, end.type) != (socket.AF_UNIX, details.type):
                raise process.tracee.give_up("make a socket")
            os.set_blocking(end.fileno(), not note.handle.flags & os.O_NONBLOCK)
            self._bind(end, note, place)
            words = []
            if details.type == socket.SOCK_DGRAM:
                words += self._datagrams.send_again(details.key, end)
            missing = bound_socket.set_options(end, details.options)
            words += [f"without {', '.join(missing)}"] if missing else []
            if details.listens:
                words += self._listen(process, number, end, note)
            return end, "; ".join(words)
        except BaseException:
            if end is not None:
                end.close()
            self._remove_hidden(details.key, place)
            raise
        finally:
            process.close_numbers([number], thread_id)

    def _bind(self, end: socket.socket, note: HandleNote, place: OpenResult) -> None:
        details, before = note.details_as(SocketDetails), note.details.before
        assert place.descriptor is not None
        assert before is not None
        folder, _, last = place.name.rpartition("/")
        hidden = HiddenName(note.handle.mount_id, folder, f".holdfast-{secrets.token_hex(8)}")
        note_down(self._directory, hidden)
        name = bytes.fromhex(details.name)
        self._hidden[details.key] = _Hidden(hidden.hidden, name, hidden.mount_id)
        identity = self._on_storage(
            place,
            hidden.mount_id,
            partial(
                bind_hidden,
                place.descriptor,
                hidden.hidden,
                name,
                end,
                SocketFile(before.mode, before.user_id, before.group_id),
                None if place.replaces is None else (last, place.replaces),
            ),
        )
        note_down(self._directory, HiddenName(hidden.mount_id, folder, hidden.hidden, identity))

    def _remove_hidden(self, key: str, place: OpenResult) -> None:
        """What was made for a socket that came to nothing; what cannot be removed now is when
        somebody comes after our death."""
        it = self._hidden.pop(key, None)
        if it is not None and place.descriptor is not None:
            with suppress(OSError, HoldfastError):
                work = partial(remove_hidden, place.descriptor, it.hidden)
                self._on_storage(place, it.mount_id, work)

    def _on_storage(self, place: OpenResult, mount_id: int, work: Callable[[], T]) -> T:
        """Work in the directory of a socket, also in one where nothing may be changed any more
        (chattr +i, +a): it could be when the socket was bound."""
        try:
            return in_expendable_child(work, _SECONDS, "the new storage")
        except PermissionError:
            assert place.descriptor is not None
            with agent_without_protection(place.descriptor, mount_id, self._directory):
                return in_expendable_child(work, _SECONDS, "the new storage")

    def _listen(
        self, process: StoppedProcess, number: int, end: socket.socket, note: HandleNote
    ) -> list[str]:
        details = note.details_as(SocketDetails)
        backlog, listener = details.backlog, details.listener
        if listener == as_seen(process):
            thread_id = note.handle.thread_id
            process.tracee.call("listen", number, backlog, thread_id=thread_id)
        if bound_socket.listener_of(end) != listener:
            work = partial(listen_as, end, backlog, *listener, details.groups)
            in_expendable_child(work, _SECONDS, "a new socket")
        return _differences(listener, bound_socket.listener_of(end))


def _differences(before: tuple[int, int, int], now: tuple[int, int, int]) -> list[str]:
    names = ("process", "user", "group")
    return [
        f"clients see {name} {new} in place of {old} (SO_PEERCRED)"
        for name, old, new in zip(names, before, now, strict=True)
        if old != new
    ]
