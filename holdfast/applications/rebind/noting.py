"""Turns the handles of stopped processes into notes: everything needed to make them again.

Nothing is changed here. Each note gets a key: handles with the same key become one thing again.
Which open file descriptions, memories and directories are shared, kcmp(2) tells: it compares kernel
objects and touches no storage. After everything that differs visibly was told apart, objects are
sorted, not compared in pairs: n log n calls.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import replace
from functools import cmp_to_key
from pathlib import Path
from typing import TypeVar

from holdfast.applications.rebind.handles import DRIVERS
from holdfast.applications.rebind.parking.notes import DETAILS, HandleNote
from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
from holdfast.model.handle import DESCRIPTORS, Handle, HandleKind
from holdfast.system.processes.kcmp import Shared, order

_MEMORY = frozenset({HandleKind.MAP, HandleKind.EXECUTABLE})
_LASTING = frozenset({HandleKind.INOTIFY, HandleKind.FANOTIFY, HandleKind.SOCKET})
"""Kinds whose notes say what the file system calls the inode, found by the driver."""
_INSTANCES = frozenset({HandleKind.INOTIFY, HandleKind.FANOTIFY})
"""Kinds of which one descriptor may have many."""
_PLACES = frozenset({HandleKind.WORKING_DIRECTORY, HandleKind.ROOT})


def note_handles(
    processes: Sequence[StoppedProcess],
    handles: Mapping[int, Sequence[Handle]],
    roots: Mapping[int, str],
    directory: Path,
    lasting: Collection[int] = (),
) -> None:
    """Fill in the notes of each process.

    `handles`: by process. `roots`: which directory of the file system each mount shows. `lasting`:
    mounts whose file system gives out identities that last. Raises Blocked for what the kernel does
    not allow, OSError.
    """
    mine = _without_shared(handles)
    keys = _keys([handle for each in mine.values() for handle in each])
    for process in processes:
        by_kind: dict[HandleKind, list[Handle]] = {}
        for handle in mine.get(process.pid, ()):
            by_kind.setdefault(handle.kind, []).append(handle)
        for kind, driver in DRIVERS.items():
            alike = by_kind.get(kind, [])
            if not alike:
                continue
            details = driver.examine(process, alike, directory)
            for handle, each in zip(alike, details, strict=True):
                inside = _relative(handle.inside, roots.get(handle.mount_id, ""))
                values = {"key": keys[id(handle)], "inside": inside, **each}
                if kind in _LASTING:
                    values["lasting"] = handle.mount_id in lasting
                process.notes.append(HandleNote(handle, DETAILS[kind](**values)))


def note_execution(processes: Sequence[StoppedProcess], mounts: Collection[int]) -> None:
    """Note what runs from mounts that do not permit that any more."""
    for process in processes:
        process.notes = [
            replace(note, details=replace(note.details, noexec=True))
            if note.handle.mount_id in mounts and _runs(note.handle)
            else note
            for note in process.notes
        ]


def _runs(handle: Handle) -> bool:
    return handle.kind is HandleKind.EXECUTABLE or (
        handle.kind is HandleKind.MAP and "x" in handle.mode
    )


def _relative(inside: str, root: str) -> str:
    """A path below the root of the file system, as seen from the root of the mount."""
    if not root or inside == root:
        return "" if inside == root else inside
    return inside.removeprefix(root + "/")


def _without_shared(handles: Mapping[int, Sequence[Handle]]) -> dict[int, list[Handle]]:
    """Each handle once, where processes share memory, tables or directories."""
    left = {pid: list(each) for pid, each in handles.items()}
    pids = list(left)
    for kinds, groups in (
        (_MEMORY, same_memory(pids)),
        (DESCRIPTORS | _INSTANCES, same_table(Shared.DESCRIPTORS, pids)),
        (_PLACES, same_table(Shared.DIRECTORIES, pids)),
    ):
        for group in groups:
            for pid in sorted(group)[1:]:
                left[pid] = [
                    handle
                    for handle in left[pid]
                    if handle.kind not in kinds or handle.thread_id is not None
                ]
    return left


def _keys(handles: Sequence[Handle]) -> dict[int, str]:
    """The key of each handle, by id(): to hash ten thousands costs more than all the rest."""
    keys: dict[int, str] = {}
    plain = [handle for handle in handles if handle.kind in DESCRIPTORS]
    for number, group in enumerate(same_descriptions(plain)):
        keys.update(dict.fromkeys(map(id, group), f"description-{number}"))
    watches: dict[Handle, list[Handle]] = {}
    for handle in handles:
        if handle.kind in _INSTANCES:
            instance = replace(
                handle, start=0, inside="", path="", inode=0, flags=0, offset=0, mount_id=0,
                deleted=False, mode="",
            )  # fmt: skip
            watches.setdefault(instance, []).append(handle)
    for number, group in enumerate(same_descriptions(list(watches))):
        for instance in group:
            keys.update(dict.fromkeys(map(id, watches[instance]), f"instance-{number}"))
    for handle in handles:
        if handle.kind in _MEMORY:
            name = "memory" if handle.kind is HandleKind.MAP else "program"
            state = "deleted" if handle.deleted else "named"
            keys[id(handle)] = f"{name}-{handle.mount_id}-{handle.inode}-{state}-{handle.inside}"
        elif handle.kind is HandleKind.OPENING:
            keys[id(handle)] = f"opening-{handle.pid}-{handle.thread_id}"
        elif handle.kind in _PLACES:
            keys[id(handle)] = f"place-{handle.mount_id}-{handle.inode}-{handle.inside}"
    return keys


Item = TypeVar("Item")


def same_descriptions(handles: Sequence[Handle]) -> list[list[Handle]]:
    """Descriptors of stopped processes, grouped by open file description. Raises OSError."""

    def compare(one: Handle, other: Handle) -> int:
        return order(
            Shared.FILE,
            one.thread_id or one.pid,
            other.thread_id or other.pid,
            one.number or 0,
            other.number or 0,
        )

    return _grouped(handles, _look, compare)


def same_memory(pids: Sequence[int]) -> list[list[int]]:
    """Processes, grouped by the memory that they share (vfork(2), clone(2) with CLONE_VM)."""
    return _grouped(pids, lambda _: 0, lambda one, other: order(Shared.MEMORY, one, other))


def same_table(what: Shared, tasks: Sequence[int]) -> list[list[int]]:
    """Processes and threads, grouped by descriptor tables or directories that they share."""
    return _grouped(tasks, lambda _: 0, lambda one, other: order(what, one, other))


def _look(handle: Handle) -> Hashable:
    """What is the same of every descriptor of one description."""
    return handle.kind, handle.mount_id, handle.inode, handle.offset, handle.flags & ~0o2000000


def _grouped(
    items: Sequence[Item], look: Callable[[Item], Hashable], compare: Callable[[Item, Item], int]
) -> list[list[Item]]:
    alike: dict[Hashable, list[Item]] = {}
    for item in items:
        alike.setdefault(look(item), []).append(item)
    groups: list[list[Item]] = []
    for candidates in alike.values():
        if len(candidates) == 1:
            groups.append(candidates)
            continue
        last: list[Item] = []
        for item in sorted(candidates, key=cmp_to_key(compare)):
            if last and compare(last[0], item) == 0:
                last.append(item)
            else:
                last = [item]
                groups.append(last)
    return groups
