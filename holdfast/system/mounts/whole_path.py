"""The whole path of what a link in /proc leads to: no link tells one of 4096 bytes or more.

The root of a mount is printed whole (proc_pid_mountinfo(5)). So a copy of the mount, rooted at what
the link leads to, is mounted in a mount namespace that nobody else has, and goes with the process.
What was removed cannot be mounted: of a directory that is done with the one that it was in. No path
is looked up. For expendable children only: the process is in another mount namespace afterwards.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from holdfast.late_dataclass import dataclass
from holdfast.model.bounded import MOST_CHARACTERS
from holdfast.system.mounts import mount_api
from holdfast.system.mounts.detached import mount_detached
from holdfast.system.mounts.mount_table import Mount, parse_mount
from holdfast.system.mounts.visitor import Visitor
from holdfast.system.proc_text import lines
from holdfast.system.statx import remembered

_MOST, _MOST_BYTES = 400, 64 << 20
"""Links at a time, two descriptors each, and what is read of them: a stranger's may be as long as
he likes."""
_MOST_REMOVED = 4096
"""Directories in one another, all removed: more than a path that is kept has names."""
_REMOVED = "removed"
"""In the place of the name of something that has none."""


class WholePath(NamedTuple):
    """Where something is, as its file system prints it: one may print something of its own."""

    mount_id: int
    path: str
    """Below the root of its file system, without leading slash."""
    is_gone: bool
    """Whether it has no name any more: the path has one of ours then, for each that was removed."""


@dataclass
class _Link:
    index: int
    mount_id: int
    place: int
    """Of what is to be mounted."""
    removed: int = 0
    """How many names lie below that, of what was removed."""
    tree: int = -1
    root: str = ""


def whole_paths(
    links: Sequence[str], namespaces: Mapping[int, int], ways: Mapping[int, int]
) -> list[WholePath | None]:
    """The path of each; None: it is on none of these mounts, or its path is longer than we keep.

    `namespaces`: of each mount, by its number, the mount namespace. `ways`: descriptors of those.
    Raises OSError, CommandFailed.
    """
    visitor = Visitor()
    ours = os.open("/proc/self", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    home = os.open("ns/mnt", os.O_RDONLY | os.O_CLOEXEC, dir_fd=ours)
    by_namespace: dict[int, list[_Link]] = {}
    for index, link in enumerate(links[:_MOST]):
        with suppress(OSError):
            place = os.open(link, os.O_PATH | os.O_CLOEXEC)
            mount = visitor.mount_number(place)
            if namespaces.get(mount) in ways:
                there = by_namespace.setdefault(namespaces[mount], [])
                there.append(_living(_Link(index, mount, place)))
    for namespace, mine in by_namespace.items():
        with suppress(OSError):
            visitor.enter(ways[namespace])
            for each in mine:
                with suppress(OSError):  # the mount is unbindable
                    each.tree = mount_api.clone_tree(each.place)
    found = [each for mine in by_namespace.values() for each in mine if each.tree >= 0]
    visitor.enter(home)
    visitor.retire()
    _attach(found)
    by_number = {visitor.mount_number(each.tree): each for each in found}
    for line in _table(ours):
        if line.identifier in by_number:
            by_number[line.identifier].root = line.root
    answers: list[WholePath | None] = [None] * len(links)
    for each in found:
        answers[each.index] = _as_told(each)
    return answers


def _table(ours: int) -> Iterator[Mount]:
    """The mounts of our namespace, as far as the text of them is not too long."""
    table = os.open("mountinfo", os.O_RDONLY | os.O_CLOEXEC, dir_fd=ours)
    with open(table, "rb") as stream:
        for line in lines(stream.read(_MOST_BYTES)):
            mount = parse_mount(line)  # None: it was cut off
            if mount is not None:
                yield mount


def _living(place: _Link) -> _Link:
    """Of a removed directory the nearest one above it that has a name."""
    while place.removed < _MOST_REMOVED:
        known = remembered(f"/proc/self/fd/{place.place}")
        if known.links or not stat.S_ISDIR(known.mode):
            break
        above = os.open("..", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place.place)
        os.close(place.place)
        place.place, place.removed = above, place.removed + 1
    return place


def _attach(places: Sequence[_Link]) -> None:
    """Mount each of these on something of its kind, in a file system in memory."""
    scratch = mount_detached("tmpfs", {"mode": "0700"})
    mount_api.attach_tree(scratch, os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
    for each in places:
        name = str(each.index)
        if stat.S_ISDIR(os.fstat(each.tree).st_mode):
            os.mkdir(name, dir_fd=scratch)
        else:
            os.close(os.open(name, os.O_CREAT | os.O_CLOEXEC, dir_fd=scratch))
        place = os.open(name, os.O_PATH | os.O_CLOEXEC, dir_fd=scratch)
        try:
            mount_api.attach_tree(each.tree, place)
        except OSError as error:
            if error.errno == errno.ENOENT:  # it was removed: nobody knows from where
                each.root, each.removed = "/", 1
        finally:
            os.close(place)


def _as_told(place: _Link) -> WholePath | None:
    path = place.root.strip("/") + f"/{_REMOVED}" * place.removed
    if not place.root or len(path) > MOST_CHARACTERS:
        return None
    return WholePath(place.mount_id, path.strip("/"), bool(place.removed))
