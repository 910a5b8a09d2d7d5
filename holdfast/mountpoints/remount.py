"""Mounting other storage exactly where a file system was mounted: every point, every namespace.

The new file system is mounted once, in a namespace of an expendable child's own; detached copies of
that mount go to the old points. So nobody sees anything before it is right, and what a killed child
leaves is at most some of the points, which the next call takes as they are. Must never make a file
system, nor choose the storage.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

from holdfast.errors import HoldfastError, StorageFailed
from holdfast.late_dataclass import dataclass
from holdfast.model.finding import Finding, Verdict
from holdfast.model.mountpoint import MountPoint
from holdfast.mountpoints.capture import capture_device
from holdfast.mountpoints.copied import Meanwhile, is_of, made_meanwhile, mount_copies
from holdfast.mountpoints.kept_waiting import free_if_kept_waiting
from holdfast.mountpoints.options import carry_options, wanted_super_options
from holdfast.mountpoints.placing import (
    Manner,
    Piece,
    Placed,
    left_out,
    place,
    take_back,
)
from holdfast.mountpoints.private_mount import REMOUNT_SECONDS, mount_privately
from holdfast.mountpoints.scratch import scratch_directory
from holdfast.mountpoints.uncovering import uncover, visit_each
from holdfast.mountpoints.whereabouts import in_words, umount_command
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.fuse.cover_server import CoverServer
from holdfast.system.mounts import mount_api
from holdfast.system.mounts.all_namespaces import all_mount_points
from holdfast.system.mounts.locked_mount import locked_copy
from holdfast.system.mounts.mount_table import mount_number
from holdfast.system.mounts.visitor import Visitor, has_foreign_owner, ways_to

_DESCRIPTORS_PER_MESSAGE = 200
"""SCM_MAX_FD (<net/scm.h>) is 253."""

Note = Callable[[Finding], None]


def remount(
    points: Sequence[MountPoint],
    source: str,
    filesystem: str,
    options: str | None = None,
    note: Note | None = None,
    manner: Manner = Manner(),  # noqa: B008 - it is frozen
    cover: CoverServer | None = None,
) -> dict[int, int]:
    """Mount `source` at all these points, with the binds, options and propagation of each.

    `points` in the order of `capture`. `options` for the file system as mount(8) takes them; None:
    the old ones that mean something for this type. Returns old mount id → O_PATH descriptor of the
    root of the mount that replaces it (caller closes); left out are points of namespaces that have
    ended, those that show what was deleted and, in undoing, what cannot be mounted. `note` is told
    what could not be as before. Covers are taken away; where `cover` was copied to meanwhile, it is
    mounted, too. Idempotent: points that show this storage
    already are taken. Raises InUse when somebody else has mounted something there, StorageFailed,
    DeadlinePassed, CommandFailed; what was mounted is dismounted again then.
    """
    covered = mount_covered(points, source, filesystem, options, note, manner, cover)
    try:
        covered.open_up()
    except BaseException:
        for root in covered.roots.values():  # they would keep the mounts busy that are to be undone
            os.close(root)
        raise
    return covered.roots


@dataclass(frozen=True)
class _Done:
    """What became of a round of mounting."""

    findings: list[Finding]
    device_number: str
    covers: set[str]
    """MAJOR:MINOR of those that were met."""


@dataclass
class Covered:
    """A file system that is mounted at all its points, where nobody reaches it yet who comes by
    path and whom a cover keeps waiting."""

    points: Sequence[MountPoint]
    cover: CoverServer | None
    tell: Note
    before: set[tuple[int, int, str]]
    """Mounts that were there before."""
    roots: dict[int, int]
    """Old mount id → O_PATH descriptor of the mount that replaces it; the caller closes them."""
    done: _Done

    def open_up(self) -> None:
        """Take the covers away; mount it also where they were copied to. Once, with the roots still
        open."""
        if not self.points:
            return
        device_number = self.done.device_number
        for device in self.done.covers:
            uncover(device, self.points)
        table = all_mount_points()
        more = _beside(self.points, table, device_number, self.cover)
        taken = {mount_number(each) for each in self.roots.values()}
        surplus = [
            each
            for each in table
            if each.device == device_number
            and each.id not in taken
            and _key(each) not in self.before
            and each.id not in more.spread
        ]
        for finding in (
            *self.done.findings,
            *more.findings,
            *mount_copies(more.places, self.points, self.roots, device_number),
            *_remove_surplus(surplus, table),
        ):
            self.tell(finding)
        cover = self.cover
        left = {each.device for each in table if cover is not None and is_of(cover, each)}
        for device in self.done.covers | left:
            uncover(device)


def reached_already(roots: dict[int, int], tell: Note = lambda finding: None) -> Covered:
    """Of mounts that are there, with no cover over them."""
    return Covered((), None, tell, set(), roots, _Done([], "", set()))


def mount_covered(
    points: Sequence[MountPoint],
    source: str,
    filesystem: str,
    options: str | None = None,
    note: Note | None = None,
    manner: Manner = Manner(),  # noqa: B008 - it is frozen
    cover: CoverServer | None = None,
) -> Covered:
    """As `remount`, but covers stay where they are, above what is mounted, until `open_up`.

    Where the kernel cannot mount below a cover (before Linux 6.5), or it was mounted below one
    already, that is taken away at once.
    """
    tell = note or (lambda finding: None)
    if not points:
        return reached_already({}, tell)
    if options is None:
        wanted = wanted_super_options(points)
        options, dropped = carry_options(wanted, points[-1].filesystem, filesystem)
        for finding in dropped:
            tell(finding)
    before = {_key(point) for point in all_mount_points()}
    roots, done = _mount(points, source, filesystem, options, replace(manner, stays_covered=True))
    return Covered(points, cover, tell, before, roots, done)


def _mount(
    points: Sequence[MountPoint], source: str, filesystem: str, options: str, manner: Manner
) -> tuple[dict[int, int], _Done]:
    """Mount it at these points: their old numbers → descriptors of the roots. Raises as remount."""
    ours, theirs = socket.socketpair()
    with ours, theirs, ways_to(points) as ways:
        work = partial(_work, points, ways, source, filesystem, options, theirs, manner)
        ids, done = in_expendable_child(work, REMOUNT_SECONDS, source)
        theirs.close()  # so that the end of what was sent is seen
        descriptors = _receive_roots(ours, len(ids))
    return dict(zip(ids, descriptors, strict=True)), done


def _beside(
    points: Sequence[MountPoint],
    table: Sequence[MountPoint],
    device_number: str,
    cover: CoverServer | None,
) -> Meanwhile:
    """What was made while it was away; a finding where that cannot be found out in time."""
    if cover is None:
        return Meanwhile()
    try:
        return made_meanwhile(points, table, device_number, cover)
    except (HoldfastError, OSError) as error:
        what = f"mount namespaces that were made meanwhile could not be looked into: {error}"
        meaning = "They may not have the volume."
        finding = Finding("made while it was away", Verdict.LIMITED, what, meaning)
        return Meanwhile(findings=(finding,))


def _receive_roots(channel: socket.socket, count: int) -> list[int]:
    """Receive this many descriptors from a child that has closed its end. Raises StorageFailed."""
    descriptors: list[int] = []
    while len(descriptors) < count:
        more = socket.recv_fds(channel, 1, _DESCRIPTORS_PER_MESSAGE)[1]
        for each in more:
            os.set_inheritable(each, False)
        descriptors += more
        if not more:  # or fewer than were sent: the kernel leaves out what there is no room for
            for each in descriptors:
                os.close(each)
            raise StorageFailed(
                f"{count} mounts are there, and this process has no room for so many descriptors",
                "Let it have more (ulimit -n), then try again.",
            )
    return descriptors


def _work(
    points: Sequence[MountPoint],
    ways: Mapping[int, int],
    source: str,
    filesystem: str,
    options: str,
    channel: socket.socket,
    manner: Manner,
) -> tuple[list[int], _Done]:
    """In the child: mount, copy, place, and send the roots."""
    placed = Placed()
    free_if_kept_waiting(ways)
    visitor = Visitor()
    base = mount_privately(visitor, source, filesystem, options)
    number = visitor.mount_number(base)
    device_number = next(
        each.device_number for each in visitor.mounts() if each.identifier == number
    )
    try:
        foreign = {number for number, way in ways.items() if has_foreign_owner(way)}
        groups = _groups(base, points)
        pieces = []
        for point in reversed(points):
            if point.namespace in ways:
                tree = _copy(base, point, foreign, placed, manner)
                if tree is not None:
                    group = groups.get((point.peer_group, point.master_group))
                    pieces.append(Piece(point, tree, group))
        place(visitor, pieces, ways, device_number, placed, manner)
    except BaseException as error:
        take_back(visitor, ways, placed)
        if isinstance(error, OSError):
            raise StorageFailed(
                f"{source} cannot be mounted at {error.filename}: {error.strerror}",
                "The mount point is missing or covered: look at it, then try again.",
            ) from error
        raise
    roots = list(placed.roots.values())
    channel.settimeout(REMOUNT_SECONDS)
    for start in range(0, len(roots), _DESCRIPTORS_PER_MESSAGE):
        socket.send_fds(channel, [b"r"], roots[start : start + _DESCRIPTORS_PER_MESSAGE])
    for each in (*roots, *(piece.tree for piece in pieces)):  # this child may end late
        os.close(each)
    return list(placed.roots), _Done(placed.findings, device_number, placed.covers)


def _copy(
    base: int, point: MountPoint, foreign: Collection[int], placed: Placed, manner: Manner
) -> int | None:
    """What the point shows, detached; None: it is left out, which a finding says.

    `foreign`: namespaces of other user namespaces, in which nobody may take its options away.
    """
    if point.shows_deleted:
        placed.findings.append(
            left_out(point, placed.own, "what it showed was deleted or replaced")
        )
        return None
    try:
        tree = mount_api.clone_tree(base, point.inside)
    except OSError as error:
        if manner.undoing:
            placed.findings.append(left_out(point, placed.own, error.strerror or str(error)))
            return None
        raise StorageFailed(
            f"the new file system has no /{point.inside}, which is mounted at {point.path}",
            "Make it there, or dismount that bind mount before.",
        ) from error
    if point.namespace not in foreign:
        return tree
    try:
        return locked_copy(tree, mount_api.attributes_of(point.options), scratch_directory())
    except OSError as error:
        if not manner.undoing:
            raise OSError(error.errno, error.strerror, point.path) from error
        placed.findings.append(left_out(point, placed.own, error.strerror or str(error)))
        return None
    finally:
        os.close(tree)


def _groups(base: int, points: Sequence[MountPoint]) -> dict[tuple[int, int], int]:
    """For each pair of peer group and master a mount with a new pair of the same relations."""
    wanted = sorted({(each.peer_group, each.master_group) for each in points} - {(0, 0)})
    made: dict[tuple[int, int], int] = {}
    masters: dict[int, int] = {}
    peers = {peer: (peer, master) for peer, master in wanted if peer}

    def make(pair: tuple[int, int]) -> int:
        if pair in made:
            return made[pair]
        peer, master = pair
        if master:
            origin = make(peers[master]) if master in peers else masters.get(master)
            if origin is None:  # its other members are out of sight: capture says so
                origin = masters[master] = _member(base, base)
                mount_api.set_propagation(origin, "shared")
            tree = _member(base, origin)
            mount_api.set_propagation(tree, "slave")
        else:
            tree = _member(base, base)
        if peer:
            mount_api.set_propagation(tree, "shared")
        made[pair] = tree
        return tree

    for pair in wanted:
        make(pair)
    return made


def _member(base: int, origin: int) -> int:
    """A copy of `origin`, mounted over the base, where older kernels too can copy it again."""
    tree = mount_api.clone_tree(origin)
    mount_api.attach_tree(tree, base)
    return tree


def _remove_surplus(surplus: Sequence[MountPoint], table: Sequence[MountPoint]) -> list[Finding]:
    """Take away what propagation put where nothing was before; a finding names what is left.

    Dismounting below a shared parent would take the mounts of its peers along.
    """
    if not surplus:
        return []
    everything = {each.id: each for each in table}
    free = [
        each
        for each in surplus
        if each.parent in everything and not everything[each.parent].peer_group
    ]
    visit_each(free, lambda visitor, each: visitor.dismount(each.path), surplus[0].source)
    left = [
        each for each in capture_device(surplus[0].device) if _key(each) in set(map(_key, surplus))
    ]
    return [
        Finding(
            "propagation",
            Verdict.LIMITED,
            f"it appeared at {in_words(each)} too",
            "It was not mounted there before; what propagates mounts to there did it.",
            f"{umount_command(each)}, if it is in the way.",
        )
        for each in left
    ]


def _key(point: MountPoint) -> tuple[int, int, str]:
    return point.namespace, point.id, point.path
