"""Handles by Unix socket: sockets bound to a file on a volume, in all network namespaces.

A bound socket, and every connection accepted from it, keeps the mount busy without a descriptor
on it. The kernel's socket monitor tells device and inode; the path is what was given to bind(2),
so it is looked up, by an expendable child, where the owner may have meant it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from holdfast.applications.places import Places, inside_of
from holdfast.model.handle import Handle, HandleKind
from holdfast.system.children.expendable_batch import ask_each
from holdfast.system.files.statx import remembered
from holdfast.system.files.unix_sockets import BoundSocket, bound_sockets
from holdfast.system.mounts.namespace import enter_network_namespace, namespace_of, open_namespace
from holdfast.system.proc import link


@dataclass(frozen=True)
class _SocketQuestion:
    owner: int
    name: str
    file_inode: int


@dataclass(frozen=True)
class _Place:
    path: str
    mount_id: int


_NOWHERE = _Place("", 0)


def sockets_on(pids: Sequence[int], places: Places) -> dict[int, BoundSocket]:
    """The sockets bound on these file systems, by their own inode number.

    Network namespaces without a process, and kernels without sock_diag for Unix sockets, stay
    unseen.
    """
    ways: dict[int, int] = {}
    found: dict[int, BoundSocket] = {}
    try:
        for pid in pids:
            with suppress(OSError):  # it has ended: another shows the way
                number = namespace_of(pid, "net")
                if number not in ways:
                    ways[number] = open_namespace(pid, "net")
        for answer in ask_each(_sockets_in, list(ways.values())):
            for bound in answer or ():
                if bound.device in places.devices:
                    found[bound.inode] = bound
    finally:
        for way in ways.values():
            os.close(way)
    return found


def _sockets_in(network_namespace: int) -> list[BoundSocket]:
    """The sockets of one network namespace; runs in an expendable child."""
    enter_network_namespace(network_namespace)
    return bound_sockets()


def settle_sockets(
    handles: Sequence[Handle], bound: Mapping[int, BoundSocket], places: Places
) -> list[Handle]:
    """These socket handles, whose `inode` is the socket's own, with path and inode of the file.

    `inside` stays empty where the file is not found: its name is gone, or was relative to a
    directory that the process has left. Blocks for a few seconds at most.
    """
    questions = [
        _SocketQuestion(handle.pid, bound[handle.inode].name, bound[handle.inode].file_inode)
        for handle in handles
    ]
    return [
        _settled(handle, bound[handle.inode], place, places)
        for handle, place in zip(handles, ask_each(_place_of, questions), strict=True)
    ]


def _place_of(question: _SocketQuestion) -> _Place:
    """Where the owner sees the file, if it is there; runs in an expendable child."""
    start = "root" if question.name.startswith("/") else "cwd"
    path = f"/proc/{question.owner}/{start}/{question.name.lstrip('/')}"
    try:
        descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        here = f"/proc/self/fd/{descriptor}"
        found = remembered(here)
        place = _Place(link(here), found.mount_id)
        os.close(descriptor)
    except OSError:
        return _NOWHERE
    return place if found.inode & 0xFFFFFFFF == question.file_inode else _NOWHERE


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
        mode="listening" if bound.listening else "",
        number=handle.number,
        thread_id=handle.thread_id,
        flags=handle.flags,
        inode=bound.file_inode,
        deleted=place == _NOWHERE and bound.name.startswith("/"),
    )
