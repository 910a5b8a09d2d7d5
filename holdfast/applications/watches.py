"""Handles by inotify watch: which path a watched inode has.

A watch keeps no volume busy, but it is lost with it, so it has to be moved. The kernel names what
is watched by inode; an expendable child turns its file handle into a path where the file system
can, else another handle on the same file knows it, else the path stays empty.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from holdfast.applications.places import DELETED, Places, inside_of, is_below
from holdfast.applications.sighting import Sighting
from holdfast.late_dataclass import dataclass
from holdfast.model.handle import Handle
from holdfast.system.children.expendable_batch import ask_each
from holdfast.system.files.inotify import open_by_handle
from holdfast.system.proc import link


@dataclass(frozen=True)
class _WatchQuestion:
    mount: str
    """Path of the mount, reachable from here."""
    kind: int
    file_handle: bytes


def settle_watches(
    sightings: Sequence[Sighting], places: Places, known: Sequence[Handle]
) -> list[Handle]:
    """The handles of these watches with their paths, as far as they can be told.

    Blocks for a few seconds at most, when storage hangs.
    """
    if not sightings:
        return []
    questions = [_question(sighting, places) for sighting in sightings]
    by_inode = {
        (places.by_id[handle.mount_id].device, handle.inode): handle
        for handle in known
        if handle.inode and handle.mount_id in places.by_id and handle.path
    }
    return [
        _settled(sighting.handle, path, places, by_inode)
        for sighting, path in zip(sightings, ask_each(_path_of, questions), strict=True)
    ]


def _question(sighting: Sighting, places: Places) -> _WatchQuestion:
    mount = places.by_id[sighting.handle.mount_id]
    watch = sighting.watch
    return _WatchQuestion(
        mount=f"/proc/{mount.witness_pid}/root{mount.path}",
        kind=watch.file_handle_type if watch else 0,
        file_handle=watch.file_handle if watch else b"",
    )


def _path_of(question: _WatchQuestion) -> str:
    """The path of a watched inode, or empty; asked in an expendable child. Raises OSError."""
    if not question.file_handle:
        return ""
    mount = os.open(question.mount, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        descriptor = open_by_handle(mount, question.kind, question.file_handle)
    except OSError:
        return ""
    finally:
        os.close(mount)
    try:
        return link(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _settled(
    handle: Handle,
    path: str | None,
    places: Places,
    by_inode: dict[tuple[str, int], Handle],
) -> Handle:
    mount = places.by_id[handle.mount_id]
    if path and is_below(path, mount.path):
        deleted = path.endswith(DELETED)
        path = path.removesuffix(DELETED) if deleted else path
        return replace(handle, path=path, inside=inside_of(mount, path), deleted=deleted)
    same = by_inode.get((mount.device, handle.inode))
    if same is not None:
        return replace(
            handle,
            path=same.path,
            inside=same.inside,
            mount_id=same.mount_id,
            deleted=same.deleted,
        )
    return handle
