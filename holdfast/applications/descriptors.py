"""Handles by descriptor: files, places, directories, sockets, and instances that watch or pin.

Reads links and fdinfo of one table; nothing on storage is touched. What kind of file an ordinary
descriptor leads to is not known here: it counts as a file until a second look.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace

from holdfast.applications.earlier_look import known_handle
from holdfast.applications.fdinfo import (
    O_DIRECTORY,
    O_PATH,
    FanotifyMark,
    Information,
    InotifyWatch,
    mount_id_of,
    parse_information,
    parse_marks,
    parse_registered_files,
    parse_targets,
    parse_watches,
)
from holdfast.applications.places import Places, inside_of
from holdfast.applications.sighting import Sighting, beyond_path
from holdfast.applications.tasks import Table
from holdfast.model.handle import Handle, HandleKind
from holdfast.system.files.unix_sockets import BoundSocket
from holdfast.system.proc import opened_folder, read, read_record

_DIRECTORY_FLAG = O_DIRECTORY.get(os.uname().machine, 0o200000)
_TEMPORARY_FLAG = 0o20000000  # __O_TMPFILE, asm-generic/fcntl.h: O_TMPFILE is O_DIRECTORY as well
_URING_ATTEMPTS = 5
_NEVER_MOUNTED = ("/memfd:", "/dmabuf:", "/SYSV", "/anon_hugepage", "/[aio]", "/dev/zero")
"""Files on mounts of the kernel's own, which no namespace has."""

_TOO_LONG = ""
"""What no link says: a path of 4096 bytes or more, do_proc_readlink() of fs/proc/base.c."""

Sockets = Mapping[int, BoundSocket]
"""Those that are bound on the volume, by the socket's own inode number."""


def descriptors(table: Table, places: Places, sockets: Sockets) -> Iterator[Sighting]:
    """Every descriptor of a table by which it keeps one of the file systems busy.

    Descriptors that are closed meanwhile are left out. Raises OSError when the table is gone.
    """
    with (
        opened_folder(f"{table.folder}/fd") as links,
        opened_folder(f"{table.folder}/fdinfo") as texts,
    ):
        for name in os.listdir(links):  # noqa: PTH208 - thousands of times
            try:
                target = _target(name, links)
                if target == _TOO_LONG:
                    yield from _beyond_path(table, name, texts, places)
                elif target.startswith("/"):
                    sighting = _opened(table, name, target, texts, places)
                    if sighting is not None:
                        yield sighting
                elif target.startswith(("socket:", "anon_inode:")):
                    yield from _special(table, int(name), target, places, sockets)
            except OSError:
                pass  # closed meanwhile


def _target(name: str, links: int) -> str:
    """What a descriptor is of; `_TOO_LONG` where the kernel does not tell. Raises OSError."""
    try:
        return os.readlink(name, dir_fd=links)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return _TOO_LONG


def _beyond_path(table: Table, name: str, texts: int, places: Places) -> Iterator[Sighting]:
    information = parse_information(read_record(name, texts))
    if information.mount_id in places.by_id:
        kind, words = _kind(information.flags), beyond_path(f"descriptor {name}")
        handle = _handle(table, int(name), information, kind, words)
        link = f"{table.folder}/fd/{name}"
        yield Sighting(handle, link, table.namespace, mount_known=True, is_beyond=True)


def _special(
    table: Table, number: int, target: str, places: Places, sockets: Sockets
) -> Iterator[Sighting]:
    """What has no path, and may belong to the file systems nevertheless."""
    if target.startswith("socket:["):
        bound = sockets.get(int(target[len("socket:[") : -1]))
        if bound is not None:
            yield _socket(table, number, bound, places)
    elif target == "anon_inode:inotify":
        yield from _watches(table, number, places)
    elif target == "anon_inode:[fanotify]":
        yield from _marks(table, number, places)
    elif target == "anon_inode:[io_uring]":
        yield from _registered(table, number, places)
    elif target == "anon_inode:[eventpoll]":
        yield from _awaited(table, number, places)


def _opened(table: Table, name: str, target: str, texts: int, places: Places) -> Sighting | None:
    text = read_record(name, texts)
    known = known_handle(table.pid, table.thread_id, int(name), target, text)
    if known is not None and known.mount_id in places.by_id:
        return Sighting(known, "", table.namespace, mount_known=True, is_settled=True)
    mount_id = mount_id_of(text)
    mount = places.by_id.get(mount_id)
    if mount is None:
        if mount_id in places.other_ids or target.startswith(_NEVER_MOUNTED):
            return None
        return _detached(table, int(name), text, target)
    information = parse_information(text)
    kind = _kind(information.flags)
    handle = _handle(table, int(name), information, kind, target, inside_of(mount, target))
    return Sighting(handle, f"{table.folder}/fd/{name}", table.namespace, mount_known=True)


def _detached(table: Table, number: int, text: bytes, target: str) -> Sighting:
    """Through a mount that no namespace has (any more); a second look tells of what."""
    path = f"descriptor on a mount that was detached lazily: {target}"
    handle = _handle(table, number, parse_information(text), HandleKind.OTHER, path)
    return Sighting(
        handle, f"{table.folder}/fd/{number}", table.namespace, mount_known=False, detached=True
    )


def _kind(flags: int) -> HandleKind:
    if flags & O_PATH:
        return HandleKind.PATH
    if flags & _TEMPORARY_FLAG:
        return HandleKind.FILE
    return HandleKind.DIRECTORY if flags & _DIRECTORY_FLAG else HandleKind.FILE


def _handle(
    table: Table,
    number: int,
    information: Information,
    kind: HandleKind,
    path: str,
    inside: str = "",
) -> Handle:
    return Handle(
        kind=kind,
        pid=table.pid,
        path=path,
        mount_id=information.mount_id,
        inside=inside,
        mode=information.mode,
        number=number,
        thread_id=table.thread_id,
        offset=information.offset,
        flags=information.flags,
        inode=information.inode,
        locks=information.locks,
    )


def _socket(table: Table, number: int, bound: BoundSocket, places: Places) -> Sighting:
    mount = places.of_device(bound.device, table.namespace)
    handle = Handle(
        kind=_kind_of_socket(bound),
        pid=table.pid,
        path=bound.name,
        mount_id=mount.id if mount else 0,
        number=number,
        thread_id=table.thread_id,
        flags=parse_information(read(f"{table.folder}/fdinfo/{number}")).flags,
        inode=bound.inode,
        mode=_mode(bound),
        start=bound.peer if bound.is_connection or not bound.is_bound else 0,
    )
    return Sighting(handle, "", table.namespace, mount_known=True)


def _kind_of_socket(bound: BoundSocket) -> HandleKind:
    if bound.is_connection:
        return HandleKind.CONNECTION
    return HandleKind.SOCKET if bound.is_bound else HandleKind.SENDER


def _mode(bound: BoundSocket) -> str:
    if not bound.is_bound:
        return "peer"
    if not bound.is_connection:
        return ""  # see settle_sockets
    if bound.peer:
        return "named"
    return "closed" if bound.is_over else "waiting"


def _watches(table: Table, number: int, places: Places) -> Iterator[Sighting]:
    for watch in parse_watches(read(f"{table.folder}/fdinfo/{number}")):
        mount = places.of_device(watch.device, table.namespace)
        if mount is not None:
            handle = Handle(
                kind=HandleKind.INOTIFY,
                pid=table.pid,
                path="",
                mount_id=mount.id,
                number=number,
                thread_id=table.thread_id,
                flags=watch.mask,
                start=watch.number,
                inode=watch.inode,
            )
            yield Sighting(handle, "", table.namespace, mount_known=True, watch=watch)


def _marks(table: Table, number: int, places: Places) -> Iterator[Sighting]:
    for mark in parse_marks(read(f"{table.folder}/fdinfo/{number}")):
        if mark.is_for_errors_only:
            continue
        if mark.device is None:
            mount = places.by_id.get(mark.mount_id)
        else:
            mount = places.of_device(mark.device, table.namespace)
        if mount is None:
            continue
        is_inode = mark.kind == "inode"
        handle = Handle(
            kind=HandleKind.FANOTIFY,
            pid=table.pid,
            path="" if is_inode else mount.path,
            mount_id=mount.id,
            inside="" if is_inode else mount.inside,
            mode=mark.kind,
            number=number,
            thread_id=table.thread_id,
            flags=mark.mask,
            start=os.makedev(*mark.device) if mark.device else 0,
            inode=mark.inode,
        )
        watch = _as_watch(mark) if is_inode else None
        settled = not is_inode
        yield Sighting(handle, "", table.namespace, True, watch=watch, is_settled=settled)


def _as_watch(mark: FanotifyMark) -> InotifyWatch:
    """What is needed to find the path of a marked inode."""
    assert mark.device is not None
    return InotifyWatch(
        number=0,
        inode=mark.inode,
        device=mark.device,
        mask=mark.mask,
        file_handle_type=mark.file_handle_type,
        file_handle=mark.file_handle,
    )


def _awaited(table: Table, number: int, places: Places) -> Iterator[Sighting]:
    text = read(f"{table.folder}/fdinfo/{number}")
    for target, inode, device in parse_targets(text):
        mount = places.of_device(device, table.namespace)
        if mount is not None and not _has_open(table, target, inode):
            information = parse_information(text)._replace(mount_id=mount.id, inode=0)
            words = f"epoll instance that waits for descriptor {target}"
            handle = _handle(table, number, information, HandleKind.OTHER, words)
            yield Sighting(handle, "", table.namespace, mount_known=True)


def _has_open(table: Table, number: int, inode: int) -> bool:
    """Whether this descriptor leads to that inode: then it is a handle itself, and whoever moves it
    registers it anew."""
    with suppress(OSError):
        return parse_information(read(f"{table.folder}/fdinfo/{number}")).inode == inode
    return False


def _registered(table: Table, number: int, places: Places) -> Iterator[Sighting]:
    text = b""
    files: list[tuple[int, str]] | None = None
    for _ in range(_URING_ATTEMPTS):
        text = read(f"{table.folder}/fdinfo/{number}")
        files = parse_registered_files(text)
        if files is not None:
            break
    information = parse_information(text)
    for slot, path in files or ():
        mount = places.may_hold(path, table.namespace)
        if mount is not None and places.is_likely(path, mount, table.namespace):
            its = information._replace(mount_id=mount.id, inode=0)
            words = f"slot {slot} of io_uring ring {number}: {path}"
            handle = _handle(table, number, its, HandleKind.REGISTERED, words)
            handle = replace(handle, start=slot)
            yield Sighting(handle, "", table.namespace, mount_known=True)
