"""Unix sockets that are bound to a file, and accept connections, or are to, or get datagrams.

A socket cannot be bound to another inode. So a new one is made in a process that has the old one,
with everything that was set on it, bound to the very same bytes (see replaying.sockets), and takes
the place of the old one under all of its descriptors and in the epoll instances that wait for it.
That nobody's connection waits in the old one by then, `doors` sees to; datagrams that wait go along
(see parking.datagrams).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from holdfast.applications.rebind.agent.steps import Steps
from holdfast.applications.rebind.handles.descriptors import park_descriptors, rebind_descriptors
from holdfast.applications.rebind.handles.epoll import Registrations, register_again
from holdfast.applications.rebind.handles.process_traits import ProcessTraits
from holdfast.applications.rebind.handles.rings import refuse_requests
from holdfast.applications.rebind.handles.signals import (
    give_owners,
    owner_and_signal,
    tell_by_signal,
)
from holdfast.applications.rebind.handles.verdicts import blocks, recreated
from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.opening.requests import Expected, OpenedFiles, OpenRequest
from holdfast.applications.rebind.parking.notes import HandleNote, SocketDetails
from holdfast.applications.rebind.parking.observed import remembered_as
from holdfast.applications.rebind.parking.placeholders import (
    Placeholders,
    is_placeholder_socket,
)
from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
from holdfast.errors import Blocked
from holdfast.model.handle import Handle, JudgedHandle
from holdfast.system.files import bound_socket
from holdfast.system.files.beneath import path_to
from holdfast.system.mounts.namespace import namespace_of
from holdfast.system.proc import link

_WHY_NOT = {
    "connected-datagram": "it is connected to a socket that is elsewhere, or gone, or has no name",
}


class SocketDriver:
    """Descriptors of sockets that have a name on the volume."""

    def judge(self, handle: Handle, facts: ProcessTraits) -> JudgedHandle:
        if handle.mode in _WHY_NOT:
            return blocks(handle, _WHY_NOT[handle.mode])
        if not handle.inside and not handle.deleted:
            return blocks(handle, "where its name is by now cannot be told")
        who = "who sends by name" if handle.mode == "datagram" else "who connects"
        return recreated(handle, f"bound again at its name; {who} meanwhile may be refused")

    def examine(
        self, process: StoppedProcess, handles: Sequence[Handle], directory: Path
    ) -> list[dict[str, Any]]:
        datagrams = [each for each in handles if each.mode == "datagram"]
        if datagrams:
            refuse_requests(process, f"socket {datagrams[0].path}")
        registrations = Registrations(process)
        home = namespace_of(process.pid, "net")
        return [self._examine(process, handle, home, registrations) for handle in handles]

    def _examine(
        self, process: StoppedProcess, handle: Handle, home: int, registrations: Registrations
    ) -> dict[str, Any]:
        with process.socket_of(handle) as end:
            return {
                **_told_by(end, handle, home),
                **owner_and_signal(process, handle, end.fileno()),
                "interests": registrations.of(handle),
            }

    def park(
        self, process: StoppedProcess, notes: Sequence[HandleNote], placeholders: Placeholders
    ) -> Steps[None]:
        """All numbers become duplicates of a socket that is bound to nothing."""
        return park_descriptors(process, notes, placeholders.socket)

    def requests(self, note: HandleNote) -> list[OpenRequest]:
        """Where its name is to be."""
        details = note.details_as(SocketDetails)
        was = details.before
        if was is not None and not details.lasting:
            was = replace(was, identity="")
        return [
            OpenRequest(
                key=details.key,
                mount_id=note.handle.mount_id,
                path=details.inside,
                flags=os.O_PATH | os.O_NOFOLLOW,
                expected=Expected.SOCKET,
                deleted=note.handle.deleted,
                was=was,
            )
        ]

    def rebind(
        self,
        process: StoppedProcess,
        notes: Sequence[HandleNote],
        openings: OpenedFiles,
        directory: Path,
    ) -> Steps[list[ReboundHandle]]:
        """All numbers become duplicates of the new socket."""
        lines = yield from rebind_descriptors(process, notes, openings)
        made = [note for note in notes if openings[note.details.key].descriptor is not None]
        for note in give_owners(process, made, openings):
            tell_by_signal(process, note, os.O_NONBLOCK)
        register_again(process, made)
        return lines

    def is_parked(self, process: StoppedProcess, note: HandleNote) -> bool:
        """Whether the descriptor is of a placeholder. Raises OSError when it has been closed."""
        place = f"{process.folder(note.handle.thread_id)}/fd/{note.handle.number}"
        if not link(place).startswith("socket:"):
            return False
        with process.copy_of(note.handle) as copy:
            return is_placeholder_socket(copy)


def _told_by(end: socket.socket, handle: Handle, home: int) -> dict[str, Any]:
    """What a socket tells of itself and its file: no storage is asked. Raises Blocked, OSError."""
    file = bound_socket.file_of(end.fileno())
    try:
        before = remembered_as(path_to(file), lasting=True)
    finally:
        os.close(file)
    if before.links > 1:
        raise _refusal(handle, "its file has several names, and a new one has one")
    if bound_socket.is_filtered(end):
        raise _refusal(handle, "a filter is attached to it, which the kernel does not tell")
    listens = bool(end.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    return {
        "before": before,
        "type": end.type,
        "name": os.fsencode(end.getsockname()).hex(),
        "listens": listens,
        "backlog": handle.end if listens else 0,
        "listener": bound_socket.listener_of(end) if listens else (0, 0, 0),
        "groups": bound_socket.groups_of_listener(end) if listens else (),
        "at_home": bound_socket.network_of(end.fileno()) == home,
        "options": bound_socket.options_of(end),
    }


def _refusal(handle: Handle, words: str) -> Blocked:
    return Blocked(
        f"process {handle.pid}: socket {handle.path} cannot be moved: {words}",
        "Let the process close it, or end it; then try again.",
    )
