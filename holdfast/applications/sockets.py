"""Handles by Unix socket: sockets bound to a file on a volume, in all network namespaces.

A bound socket, and every connection accepted from it, keeps the mount busy without a descriptor
on it. The kernel's socket monitor tells device and inode; a copy of the socket leads to the file,
in an expendable child. Where the kernel allows no copy, the name that was given to bind(2) is
looked up where the owner may have meant it.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace

from holdfast.applications.places import Places, inside_of
from holdfast.late_dataclass import dataclass
from holdfast.model.handle import Handle, HandleKind
from holdfast.system.children.expendable_batch import ask_each
from holdfast.system.files.bound_socket import file_of
from holdfast.system.files.unix_sockets import BoundSocket, bound_sockets
from holdfast.system.mounts.namespace import enter_network_namespace, namespace_of, open_namespace
from holdfast.system.proc import link
from holdfast.system.processes.process import copy_descriptor
from holdfast.system.statx import remembered


@dataclass(frozen=True)
class _SocketQuestion:
    task: int
    number: int
    inode: int
    name: str
    file_inode: int


@dataclass(frozen=True)
class _Place:
    path: str
    mount_id: int
    is_gone: bool = False
    """Whether it has no name any more."""


_NOWHERE, _GONE = _Place("", 0), _Place("", 0, is_gone=True)


def sockets_on(pids: Sequence[int], places: Places) -> dict[int, BoundSocket]:
    """The sockets bound on these file systems, by their own inode number, what datagram sockets are
    connected to one of them, and the other ends of connections.

    Network namespaces without a process, and kernels without sock_diag for Unix sockets, stay
    unseen.
    """
    ways: dict[int, int] = {}
    found: dict[int, BoundSocket] = {}
    others: dict[int, BoundSocket] = {}
    try:
        for pid in pids:
            with suppress(OSError):  # it has ended: another shows the way
                number = namespace_of(pid, "net")
                if number not in ways:
                    ways[number] = open_namespace(pid, "net")
        for answer in ask_each(_sockets_in, list(ways.values())):
            for bound in answer or ():
                if bound.is_bound and bound.inode and bound.device in places.devices:
                    found[bound.inode] = bound
                elif bound.type == socket.SOCK_DGRAM and bound.peer:
                    others[bound.inode] = bound
    finally:
        for way in ways.values():
            os.close(way)
    for bound in found.values():
        if bound.type == socket.SOCK_DGRAM and _reaches(bound, others, found):
            found[bound.inode] = replace(bound, reaches=True)
    return {**_senders(others.values(), found), **_other_ends(found), **found}


def _other_ends(found: Mapping[int, BoundSocket]) -> dict[int, BoundSocket]:
    return {
        each.peer: replace(each, inode=each.peer, peer=each.inode, is_bound=False)
        for each in found.values()
        if each.is_connection and each.peer
    }


def _reaches(
    bound: BoundSocket, others: Mapping[int, BoundSocket], found: Mapping[int, BoundSocket]
) -> bool:
    """Whether a datagram socket is connected to one whose processes stand while it moves, because
    that moves, too, or is connected to this one. Who has any other has chosen nothing: everybody
    may connect to what he can write to."""
    other = others.get(bound.peer)
    return bound.peer in found or (
        other is not None and other.peer == bound.inode != 0 and bool(other.name)
    )


def _senders(
    others: Iterable[BoundSocket], found: Mapping[int, BoundSocket]
) -> dict[int, BoundSocket]:
    """Those that are connected to a datagram socket which was found, with its name and device."""
    return {
        each.inode: replace(found[each.peer], inode=each.inode, peer=each.peer, is_bound=False)
        for each in others
        if each.peer in found and found[each.peer].type == socket.SOCK_DGRAM
    }


def _sockets_in(network_namespace: int) -> list[BoundSocket]:
    """The sockets of one network namespace; runs in an expendable child."""
    enter_network_namespace(network_namespace)
    return bound_sockets()


def settle_sockets(
    handles: Sequence[Handle], bound: Mapping[int, BoundSocket], places: Places
) -> list[Handle]:
    """These socket handles, whose `inode` is the socket's own, with path and inode of the file.

    `inside` stays empty where the file is not found: its name is gone, or the kernel does not lead
    to it and it was relative to a directory that the process has left. Blocks for a few seconds at
    most.
    """
    questions = [
        _SocketQuestion(
            handle.thread_id or handle.pid,
            handle.number or 0,
            handle.inode,
            bound[handle.inode].name,
            bound[handle.inode].file_inode,
        )
        for handle in handles
    ]
    return [
        _settled(handle, bound[handle.inode], place, places)
        for handle, place in zip(handles, ask_each(_place_of, questions), strict=True)
    ]


def _place_of(question: _SocketQuestion) -> _Place:
    """Where the file is; runs in an expendable child."""
    with suppress(OSError):
        return _told_by_socket(question)
    start = "root" if question.name.startswith("/") else "cwd"
    path = f"/proc/{question.task}/{start}/{question.name.lstrip('/')}"
    try:
        descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        here = f"/proc/self/fd/{descriptor}"
        found = remembered(here)
        place = _Place(link(here), found.mount_id)
        os.close(descriptor)
    except OSError:
        return _NOWHERE
    return place if found.inode & 0xFFFFFFFF == question.file_inode else _NOWHERE


def _told_by_socket(question: _SocketQuestion) -> _Place:
    """Where the file is by now, whatever bind(2) was given. Raises OSError."""
    with ExitStack() as stack:

        def kept(descriptor: int) -> int:
            stack.callback(os.close, descriptor)
            return descriptor

        copy = kept(copy_descriptor(question.task, question.number))
        if os.fstat(copy).st_ino != question.inode:
            raise OSError(errno.EBADF, "closed since")
        here = f"/proc/self/fd/{kept(file_of(copy))}"
        found = remembered(here)
        return _Place(link(here), found.mount_id) if found.links else _GONE


def _settled(handle: Handle, bound: BoundSocket, place: _Place | None, places: Places) -> Handle:
    mount = places.by_id.get(place.mount_id) if place else None
    if place is not None and mount is not None:
        path, inside, mount_id = place.path, inside_of(mount, place.path), mount.id
    else:
        path, inside, mount_id = bound.name, "", handle.mount_id
    return Handle(
        kind=HandleKind.SOCKET,
        pid=handle.pid,
        path=path,
        mount_id=mount_id,
        inside=inside,
        mode=_mode(bound),
        number=handle.number,
        thread_id=handle.thread_id,
        flags=handle.flags,
        offset=bound.shut if bound.type == socket.SOCK_DGRAM else 0,
        end=bound.peer if bound.type == socket.SOCK_DGRAM else bound.backlog,
        inode=bound.file_inode,
        start=handle.inode if bound.type == socket.SOCK_DGRAM else 0,
        deleted=place == _GONE or (place == _NOWHERE and bound.name.startswith("/")),
    )


def _mode(bound: BoundSocket) -> str:
    if bound.listening:
        return "listening"
    if bound.type == socket.SOCK_DGRAM:
        return "datagram" if bound.reaches or not bound.connected else "connected-datagram"
    return ""
