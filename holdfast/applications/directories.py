"""Handles by place: working directory, root and program of a process.

The links say a path only. Which mount it goes through is certain where no other mount can be
meant, and otherwise asked of an expendable child.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

from holdfast.applications.places import Places
from holdfast.applications.sighting import Sighting, beyond_path
from holdfast.applications.tasks import Table
from holdfast.model.handle import Handle, HandleKind
from holdfast.system.proc import link

_LINKS = (("cwd", HandleKind.WORKING_DIRECTORY), ("root", HandleKind.ROOT))
_WORDS = {
    HandleKind.WORKING_DIRECTORY: "working directory",
    HandleKind.ROOT: "root directory",
    HandleKind.EXECUTABLE: "program",
}


def directories(table: Table, places: Places) -> Iterator[Sighting]:
    """Working directory and root, where they are on one of these file systems."""
    for name, kind in _LINKS:
        yield from _place(table, name, kind, places)


def executable(table: Table, places: Places) -> Iterator[Sighting]:
    """The program that runs, where it lies on one of these file systems."""
    yield from _place(table, "exe", HandleKind.EXECUTABLE, places)


def _place(table: Table, name: str, kind: HandleKind, places: Places) -> Iterator[Sighting]:
    path = ""
    try:
        path = link(f"{table.folder}/{name}")
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # whose mount that is, its inode tells
            place, words = f"{table.folder}/{name}", beyond_path(_WORDS[kind])
            handle = Handle(kind, table.pid, words, 0, thread_id=_thread_of(table, kind))
            yield Sighting(handle, place, table.namespace, mount_known=False, is_beyond=True)
    mount = places.may_hold(path, table.namespace) if path else None
    if mount is not None:
        handle = Handle(kind, table.pid, path, mount.id, thread_id=_thread_of(table, kind))
        yield Sighting(
            handle,
            f"{table.folder}/{name}",
            table.namespace,
            mount_known=places.is_certain(path, mount, table.namespace),
        )


def _thread_of(table: Table, kind: HandleKind) -> int | None:
    return table.thread_id if kind is not HandleKind.EXECUTABLE else None
