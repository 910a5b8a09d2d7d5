"""A handle as /proc shows it at first sight, and the second look that settles what is in doubt.

Whether a descriptor is a file or a FIFO, whether a name really ends in " (deleted)", and which of
two mounts on top of each other is meant, only the inode knows. Expendable children ask the kernel
for what it remembers of it; what does not answer keeps the more probable reading.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

from holdfast.applications.fdinfo import InotifyWatch
from holdfast.applications.places import DELETED, Places, inside_of
from holdfast.model.handle import Handle, HandleKind
from holdfast.system.children.expendable_batch import ask_each, asking
from holdfast.system.statx import remembered

_PORTION = 128
"""Links per question; one that hangs leaves its portion to be asked one by one."""

_KINDS = (
    (stat.S_ISDIR, HandleKind.DIRECTORY),
    (stat.S_ISFIFO, HandleKind.FIFO),
    (stat.S_ISCHR, HandleKind.DEVICE),
    (stat.S_ISBLK, HandleKind.DEVICE),
)


class Sighting(NamedTuple):
    """A handle that was seen, with the link that leads to its inode. Made for each descriptor."""

    handle: Handle
    """`path` is still as the kernel printed it."""
    link: str
    """Below /proc; empty: there is nothing to ask."""
    namespace: int
    """Mount namespace of the process."""
    mount_known: bool
    """Whether `handle.mount_id` came from the kernel and not from the path."""
    detached: bool = False
    """Whether the mount is in no namespace (any more), and only the device can tell of what."""
    watch: InotifyWatch | None = None
    """For an inotify watch, whose path is found by other means."""
    is_settled: bool = False
    """Whether an earlier look has settled it, and nothing has changed since."""
    is_beyond: bool = False
    """Whether its path is still to be found: no link tells it (see long_paths)."""


def beyond_path(what: str) -> str:
    """In the place of a path that is too long to be told or kept."""
    return f"{what} of something whose path is too long"


_Question = tuple[str, str]
"""A link, and where its file would be if its name really ended so; empty: no doubt. Plain values:
there may be ten thousands."""


class _Answer(NamedTuple):
    mode: int
    inode: int
    mount_id: int
    device: tuple[int, int]
    literal: bool
    represents: tuple[int, int]


def settle(sightings: Sequence[Sighting], places: Places) -> list[Handle]:
    """The handles that are really on one of these mounts, complete.

    Blocks for a few seconds at most, when storage hangs.
    """
    with settling(sightings, places) as handles:
        return handles()


@contextmanager
def settling(sightings: Sequence[Sighting], places: Places) -> Iterator[Callable[[], list[Handle]]]:
    """As `settle`; a child looks at the inodes while the caller does something else."""
    asked = [sighting for sighting in sightings if sighting.link]
    with _asking([_question(sighting, places) for sighting in asked]) as answers:

        def handles() -> list[Handle]:
            found = iter(answers())
            settled = [
                each.handle
                if each.is_settled
                else _settled(each, next(found) if each.link else None, places)
                for each in sightings
            ]
            return [handle for handle in settled if handle is not None]

        yield handles


def _question(sighting: Sighting, places: Places) -> _Question:
    path = sighting.handle.path
    if not path.endswith(DELETED):
        return sighting.link, ""
    mount = places.by_id.get(sighting.handle.mount_id)
    return sighting.link, f"/proc/{mount.witness_pid}/root{path}" if mount else ""


@contextmanager
def _asking(questions: list[_Question]) -> Iterator[Callable[[], list[_Answer | None]]]:
    portions = [questions[i : i + _PORTION] for i in range(0, len(questions), _PORTION)]
    with asking(_look_at_all, portions) as answers_of_portions:

        def answers() -> list[_Answer | None]:
            found: list[tuple[Any, ...] | None] = []
            again: list[int] = []
            for portion, answered in zip(portions, answers_of_portions(), strict=True):
                if answered is None:
                    again += range(len(found), len(found) + len(portion))
                found += answered or [None] * len(portion)
            singly = [questions[index] for index in again]
            late = ask_each(_look_at, singly, item_seconds=1.0, budget_seconds=5.0)
            for index, answer in zip(again, late, strict=True):
                found[index] = answer
            return [None if answer is None else _Answer(*answer) for answer in found]

        yield answers


def _look_at_all(questions: list[_Question]) -> list[tuple[Any, ...] | None]:
    return [_look_at(question) for question in questions]


def _look_at(question: _Question) -> tuple[Any, ...] | None:
    """Look at one inode, in an expendable child. A plain tuple is quicker to hand over."""
    link, named = question
    try:
        mode, links, inode, device, mount_id, *_, represents = remembered(link)
    except OSError:
        return None
    literal = False
    if named and links > 0:
        try:
            other = remembered(named, follow=False)
            literal = (other.device, other.inode) == (device, inode)
        except OSError:
            pass
    return mode, inode, mount_id, device, literal, represents


def _settled(sighting: Sighting, answer: _Answer | None, places: Places) -> Handle | None:
    handle = sighting.handle
    told = sighting.mount_known or sighting.detached
    if told and answer is not None and answer.mount_id not in (0, handle.mount_id):
        return None  # closed since the first look, and its number was given to something else
    if sighting.mount_known and answer is not None and _is_plain(handle, answer):
        return handle if handle.mount_id in places.by_id else None
    if sighting.detached:
        return handle if answer is not None and answer.device in places.devices else None
    mount = places.by_id.get(handle.mount_id)
    if not sighting.mount_known and handle.kind is HandleKind.MAP:
        # On the file system it is for sure; at most the mount is another, or none any more.
        mount = places.by_id.get(answer.mount_id if answer else 0, mount)
    elif not sighting.mount_known:
        if answer is not None and answer.mount_id:
            mount = places.by_id.get(answer.mount_id)
        elif mount is not None and not places.is_likely(handle.path, mount, sighting.namespace):
            mount = None
    if mount is None:
        return None
    deleted = handle.path.endswith(DELETED) and not (answer is not None and answer.literal)
    path = handle.path.removesuffix(DELETED) if deleted else handle.path
    inside = inside_of(mount, path)
    kind, inode = handle.kind, handle.inode
    if answer is not None:
        inode = inode or answer.inode
        if kind is HandleKind.DIRECTORY and stat.S_ISREG(answer.mode):
            kind = HandleKind.FILE
        elif kind is HandleKind.MAP and stat.S_ISCHR(answer.mode):
            kind = HandleKind.DEVICE
        elif kind is HandleKind.FILE and not stat.S_ISREG(answer.mode):
            kind = next((each for matches, each in _KINDS if matches(answer.mode)), kind)
    known = (handle.kind, handle.mount_id, handle.inside, handle.inode, handle.deleted)
    if known == (kind, mount.id, inside, inode, deleted):
        return handle  # copying costs more than all the rest
    is_character_device = kind is HandleKind.DEVICE and answer and stat.S_ISCHR(answer.mode)
    return replace(
        handle,
        kind=kind,
        path=path,
        mount_id=mount.id,
        start=os.makedev(*answer.represents) if answer and is_character_device else handle.start,
        inside=inside,
        inode=inode,
        deleted=deleted,
    )


def _is_plain(handle: Handle, answer: _Answer) -> bool:
    """Whether a file is as it looked, with a name: nearly always."""
    return (
        handle.kind is HandleKind.FILE
        and handle.inode != 0
        and stat.S_ISREG(answer.mode)
        and not handle.path.endswith(DELETED)
    )
