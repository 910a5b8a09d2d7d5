"""Ends of connections of Unix sockets, at least one of which has a name on the volume.

Both ends are replaced while handles are parked, by those of a connection that has nothing of the
volume (see rebind.connections): so nothing is left to be done here when the new storage is there.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from holdfast.applications.rebind.handles.base import UntouchedDriver
from holdfast.applications.rebind.handles.epoll import Registrations
from holdfast.applications.rebind.handles.process_traits import ProcessTraits
from holdfast.applications.rebind.handles.rings import refuse_requests
from holdfast.applications.rebind.handles.signals import owner_and_signal
from holdfast.applications.rebind.handles.verdicts import blocks, recreated
from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.opening.requests import OpenedFiles
from holdfast.applications.rebind.parking.notes import ConnectionDetails, HandleNote
from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
from holdfast.errors import Blocked
from holdfast.model.handle import Handle, HandleOutcome, JudgedHandle
from holdfast.system.files import bound_socket
from holdfast.system.files.unread_messages import state_of
from holdfast.system.mounts.namespace import namespace_of


class ConnectionDriver(UntouchedDriver):
    """Descriptors of ends of connections; both ends are exchanged before (see
    rebind.connections)."""

    def judge(self, handle: Handle, facts: ProcessTraits) -> JudgedHandle:
        """Replaced together with the other end."""
        if handle.mode == "waiting":
            return blocks(handle, "nobody has accepted it yet")
        if handle.mode == "peer":
            return recreated(handle, "connected through the volume with a process that uses it")
        return recreated(handle, "connected anew, with all that lies unread in it")

    def examine(
        self, process: StoppedProcess, handles: Sequence[Handle], directory: Path
    ) -> list[dict[str, Any]]:
        """What each end tells of itself; nothing is changed. Raises Blocked, OSError."""
        first = handles[0]
        refuse_requests(process, f"connection {first.number} through {first.path}")
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

    def rebind(
        self,
        process: StoppedProcess,
        notes: Sequence[HandleNote],
        openings: OpenedFiles,
        directory: Path,
    ) -> list[ReboundHandle]:
        """Only tell what became of each."""
        return [
            ReboundHandle(
                note.handle, HandleOutcome.IDENTICAL, note.details_as(ConnectionDetails).words
            )
            for note in notes
        ]


def refusal(handle: Handle, words: str) -> Blocked:
    """What is raised when a connection cannot be moved."""
    return Blocked(
        f"process {handle.pid}: connection {handle.number} through {handle.path} cannot be moved:"
        f" {words}",
        "Let the process close it, or try again when that is over.",
    )


def _told_by(end: socket.socket, handle: Handle, home: int) -> dict[str, Any]:
    status = os.fstat(end.fileno())
    if status.st_ino != handle.inode:
        raise refusal(handle, "another one has its number by now")
    if bound_socket.is_filtered(end):
        raise refusal(handle, "a filter is attached to it, which the kernel does not tell")
    state = state_of(end)
    return {
        "type": end.type,
        "name": _bytes_of(end.getsockname()).hex(),
        "peer_name": _bytes_of(end.getpeername()).hex(),
        "caller": bound_socket.listener_of(end),
        "groups": bound_socket.groups_of_listener(end),
        "owner_ids": (status.st_uid, status.st_gid),
        "at_home": bound_socket.network_of(end.fileno()) == home,
        "options": bound_socket.options_of(end),
        "read_to_end": state.is_read_to_end,
        "has_failed": state.has_failed,
        "is_over": state.is_over,
    }


def _bytes_of(name: str | bytes | None) -> bytes:
    return os.fsencode(name or b"")
