"""Removed names, made again on the new file system: an equal inode gets a name, and loses it.

Directories, and what O_PATH descriptors lead to without contents: links, sockets, FIFOs, nodes. A
directory is made in the one that it was in, which `..` leads to: that very inode, or one that every
process which gets it may have (see `finding`). Where there is none, or nothing can be made, it is
made on a file system in memory that is mounted nowhere: a process with another root must not find a
way out through `..`. One inode is made once, by however many handles it is known.

Whoever may write to a directory in which we make a name can put anything in its place, also what
is root's and was not his to touch. So it is always a directory that we make there: random name,
exclusively, root's, closed to everybody else. What is no directory, or was in another one, is made
inside, where nobody else can write. Names of others are never removed: inside, only what bears that
random name, and of directories only empty ones. Owner, mode and times are given to what has no name
any more. Invariant: which name it is stands in the record directory before it is made; whoever
comes after a death takes it away. Blocks when the storage does: for expendable children only.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import field, replace
from itertools import pairwise
from pathlib import Path

from holdfast.applications.rebind.opening.finding import Missing, find
from holdfast.applications.rebind.opening.requests import Expected, OpenRequest
from holdfast.applications.rebind.parking.observed import Observed
from holdfast.applications.rebind.parking.relocation import Relocation
from holdfast.applications.rebind.parking.removed import kept_device, kept_target
from holdfast.errors import CommandFailed
from holdfast.late_dataclass import dataclass
from holdfast.model.bounded import read_object, typed
from holdfast.system.files.beneath import names_in, open_beneath, path_to, reopen
from holdfast.system.files.inode_identity import identity_of, open_identity, open_through
from holdfast.system.files.times_kept import times_kept
from holdfast.system.mounts.detached import mount_detached

_PREFIX = "making-"
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_CLOSED = 0o600
_CLOSED_DIRECTORY = 0o700
_IN_MEMORY = {"size": "4096", "nr_inodes": "64", "mode": "0000"}
"""One page, and more inodes than directories above one that are noted."""
_RULES = ("system.posix_acl_access", "system.posix_acl_default")
"""What a directory gives to those that are made in it: acl(5)."""

_TAKEN = "somebody else has put something in its place"

_Inode = tuple[int, int]


@dataclass
class _Node:
    """One inode that is to be made again."""

    was: Observed
    contents: str = ""
    """Name of the file in the record directory that says more of it."""
    inside: dict[_Inode, _Node] = field(default_factory=dict)
    """Removed directories that were in it."""
    place: int = -1
    """An O_PATH descriptor, once it is made."""
    mount_id: int = 0
    """The old mount through which it was made."""
    words: str = ""
    """What is not as it was."""

    def all(self) -> Iterator[_Node]:
        """It, and all that is in it."""
        yield self
        for each in self.inside.values():
            yield from each.all()


@dataclass
class _Top:
    """A removed name that was in a directory which has its name."""

    node: _Node
    request: OpenRequest
    """For the directory that it was in."""


class RemovedNames:
    """All that these requests need, made at once: so what was in one another is so again."""

    def __init__(
        self,
        bases: Mapping[int, int],
        directory: Path,
        relocation: Relocation,
        requests: Sequence[OpenRequest],
    ) -> None:
        """`directory`: of the record. What cannot be made is told by `take`."""
        self._bases = bases
        self._directory = directory
        self._relocation = relocation
        self._nodes: dict[_Inode, _Node] = {}
        for top in self._tops(requests):
            self._make(top)

    def take(self, request: OpenRequest, flags: int) -> tuple[int, str]:
        """A descriptor with these flags (caller closes), and what is not as it was. Raises
        OSError."""
        assert request.was is not None
        node = self._nodes.get(_inode(request.was))
        if node is None or node.place < 0:
            words = node.words if node else "it was not looked for"
            raise OSError(0, f"it cannot be made again: {words}")
        place = os.dup(node.place)
        base = self._bases.get(request.mount_id)
        if base is not None and node.mount_id not in (0, request.mount_id):
            with suppress(OSError):
                other = open_through(base, place)
                os.close(place)
                place = other
        if not stat.S_ISDIR(node.was.mode):
            return place, node.words
        try:
            return reopen(place, flags), node.words
        finally:
            os.close(place)

    def places(self) -> list[tuple[Observed, int]]:
        """What was made, and where (O_PATH), ours."""
        return [(node.was, node.place) for node in self._nodes.values() if node.place >= 0]

    def _tops(self, requests: Sequence[OpenRequest]) -> list[_Top]:
        tops: dict[_Inode, _Top] = {}
        for request in requests:
            assert request.was is not None
            removed = [request.was, *(each for each in request.above if not each.links)]
            for each in removed:
                self._nodes.setdefault(_inode(each), _Node(each))
            self._nodes[_inode(removed[0])].contents = request.contents
            for inner, outer in pairwise(removed):
                self._nodes[_inode(outer)].inside[_inode(inner)] = self._nodes[_inode(inner)]
            key = _inode(removed[-1])
            where = _where(request, len(removed))
            if key in tops:
                rights = (*tops[key].request.rights, *where.rights)
                where = replace(where, rights=tuple(dict.fromkeys(rights)))
            tops[key] = _Top(self._nodes[key], where)
        return list(tops.values())

    def _make(self, top: _Top) -> None:
        node = top.node
        try:
            folder = self._folder(top)
            try:
                self._make_in(folder, node, top.request.mount_id)
            finally:
                os.close(folder)
            return
        except (Missing, OSError, ValueError) as error:
            words = f"it is in memory, not on the volume: {_words(error)}"
        _forget(node)
        try:
            folder = mount_detached("tmpfs", _IN_MEMORY)
            try:
                self._make_in(folder, node, 0)
            finally:
                os.close(folder)
        except (CommandFailed, OSError, ValueError) as error:
            _forget(node)
            words = _words(error)
        for each in node.all():
            each.words = words

    def _folder(self, top: _Top) -> int:
        """Where it was. Raises Missing, OSError."""
        if not stat.S_ISDIR(top.node.was.mode):
            base = self._bases.get(top.request.mount_id)
            if base is None:
                raise Missing("its mount was not mounted again")
            return os.dup(base)
        if top.request.was is None:
            raise Missing("which directory it was in is not known")
        found = find(self._bases, self._relocation, top.request)
        try:
            return os.dup(found.place)
        finally:
            found.close()

    def _make_in(self, folder: int, top: _Node, mount_id: int) -> None:
        """Make it and what is in it; nothing of it has a name afterwards. Raises OSError."""
        name = f".holdfast-{secrets.token_hex(16)}"
        with self._written_down(folder, name, mount_id), times_kept(folder):
            try:
                if stat.S_ISDIR(top.was.mode):
                    self._create(folder, name, top)
                else:
                    self._create_within(folder, name, top)
            finally:
                _take_away(folder, name)
        for node in top.all():
            node.mount_id = mount_id
            _complete(node)

    def _create_within(self, folder: int, name: str, node: _Node) -> None:
        """Create it in a directory of ours."""
        os.mkdir(name, _CLOSED_DIRECTORY, dir_fd=folder)
        ours = open_beneath(folder, name, _LOOK | os.O_DIRECTORY)
        try:
            if not _is_ours(os.fstat(ours), stat.S_IFDIR):
                raise PermissionError(1, _TAKEN)
            self._create(ours, _inner(name, 0), node)
        finally:
            os.close(ours)

    @contextmanager
    def _written_down(self, folder: int, name: str, mount_id: int) -> Iterator[None]:
        """Within the context whoever comes after our death knows of the name."""
        path = self._directory / f"{_PREFIX}{name}"
        if mount_id:  # what is in memory goes with us
            making = {"mount_id": mount_id, "identity": identity_of(folder), "name": name}
            path.write_text(json.dumps(making))
        yield
        path.unlink(missing_ok=True)

    def _create(self, folder: int, name: str, node: _Node) -> None:
        mode, kind = node.was.mode, stat.S_IFMT(node.was.mode)
        if stat.S_ISDIR(mode):
            os.mkdir(name, _CLOSED_DIRECTORY, dir_fd=folder)
        elif stat.S_ISLNK(mode):
            os.symlink(kept_target(self._directory, node.contents), name, dir_fd=folder)
        else:
            is_device = stat.S_ISCHR(mode) or stat.S_ISBLK(mode)
            device = kept_device(self._directory, node.contents) if is_device else 0
            os.mknod(name, kind | _CLOSED, device, dir_fd=folder)
        node.place = open_beneath(folder, name, _LOOK)
        if not _is_ours(os.fstat(node.place), kind):
            raise PermissionError(1, _TAKEN)
        for number, each in enumerate(node.inside.values()):
            self._create(node.place, _inner(name, number), each)


def is_being_made(directory: Path) -> bool:
    """Whether somebody who died may have left a name. Reads the record directory only."""
    return any(directory.glob(f"{_PREFIX}*"))


@dataclass(frozen=True)
class _Making:
    """A name that is made, as it is on disk."""

    mount_id: int
    identity: str
    """Of the directory that it is in; empty: the root of the mount."""
    name: str


def take_away_left(bases: Mapping[int, int], directory: Path) -> None:
    """The names that somebody who died had made. Idempotent. Raises OSError."""
    for path in directory.glob(f"{_PREFIX}*"):
        try:
            making = typed(_Making, read_object(path.read_bytes()))
        except ValueError:  # torn: nothing was made yet
            path.unlink(missing_ok=True)
            continue
        base = bases.get(making.mount_id)
        if base is None:
            continue
        with suppress(OSError, ValueError):  # gone, or another file system has taken its place
            mount = reopen(base, os.O_RDONLY)
            try:
                folder = open_identity(mount, making.identity) if making.identity else os.dup(mount)
            finally:
                os.close(mount)
            try:
                with times_kept(folder):
                    _take_away(folder, making.name)
            finally:
                os.close(folder)
        path.unlink(missing_ok=True)


def _take_away(folder: int, name: str) -> None:
    """Remove the directory that we made there, with what we made in it; what is somebody else's by
    now stays. Raises OSError."""
    try:
        place = open_beneath(folder, name, _LOOK | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        if not _is_ours(os.fstat(place), stat.S_IFDIR):
            return
        readable = reopen(place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for inner in map(os.fsdecode, names_in(readable)):
                if inner.startswith(name):
                    _take_away(readable, inner)
                    with suppress(FileNotFoundError, IsADirectoryError):
                        os.unlink(inner, dir_fd=readable)
        finally:
            os.close(readable)
        os.rmdir(name, dir_fd=folder)
    finally:
        os.close(place)


def _inner(name: str, number: int) -> str:
    """The name of something within what has this one, which nobody else can have given."""
    return f"{name}-{number}"


def _is_ours(status: os.stat_result, kind: int) -> bool:
    """Whether it can be what we made: of this kind, root's, and closed to others."""
    if stat.S_IFMT(status.st_mode) != kind or status.st_uid != os.geteuid():
        return False
    return kind == stat.S_IFLNK or not status.st_mode & (stat.S_IRWXG | stat.S_IRWXO)


def _complete(node: _Node) -> None:
    """Let what has no name any more be as it was. Raises OSError."""
    status = os.fstat(node.place)
    if status.st_nlink:
        raise PermissionError(1, "somebody else has given it another name")
    path, was = path_to(node.place), node.was
    os.chown(path, was.user_id, was.group_id)  # before the mode, whose bits it would take away
    if not stat.S_ISLNK(was.mode):
        for rule in _RULES:
            with suppress(OSError):
                os.removexattr(path, rule)
        os.chmod(path, stat.S_IMODE(was.mode))  # noqa: PTH101
    if was.size_bytes >= 0:
        os.utime(path, ns=(was.modified_ns, was.modified_ns))


def _where(request: OpenRequest, levels: int) -> OpenRequest:
    """For the directory that is so many levels above what is asked for."""
    names = request.path.split("/")
    return replace(
        request,
        path="/".join(names[:-levels]),
        flags=os.O_PATH | os.O_DIRECTORY,
        expected=Expected.DIRECTORY,
        was=request.above[-1] if request.above else None,
        deleted=False,
        locks=(),
        contents="",
        above=(),
    )


def _inode(observed: Observed) -> _Inode:
    return observed.device, observed.inode


def _forget(top: _Node) -> None:
    for node in top.all():
        if node.place >= 0:
            os.close(node.place)
            node.place = -1


def _words(error: BaseException) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)
