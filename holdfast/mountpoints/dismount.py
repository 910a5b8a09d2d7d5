"""Dismounting a file system for real, everywhere: each of its mounts, in each namespace, or none.

Invariant: when `dismount` returns, the kernel has let go of the storage; when it raises, everything
but strangers' surplus is mounted as before. A copy of every mount, detached and out of sight, is
what brings them back; it vanishes with the expendable child that does the work. Must never dismount
lazily.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path

from holdfast.errors import InUse, StorageFailed
from holdfast.model.finding import Finding
from holdfast.model.mount_below import ParkedMounts
from holdfast.model.mountpoint import MountPoint
from holdfast.mountpoints.below.parking import Parking
from holdfast.mountpoints.busy import suspects, users_in_words
from holdfast.mountpoints.capture import (
    by_somebody_else,
    capture_device,
    disk_of,
    is_there,
    with_later_ones,
)
from holdfast.mountpoints.copies import bring_back, copy_visible, tables
from holdfast.mountpoints.covering import Covering
from holdfast.mountpoints.kept_waiting import free_if_kept_waiting
from holdfast.mountpoints.lost_ways import lost
from holdfast.mountpoints.placing import Manner, Piece
from holdfast.mountpoints.remount import mount_covered, remount
from holdfast.mountpoints.surplus.recording import about_surplus, recordable, surplus
from holdfast.mountpoints.surplus.unrecorded import (
    dismount_first,
    dismount_unrecorded,
    parted,
    refuse_left,
    with_all_others,
)
from holdfast.mountpoints.whereabouts import own_namespace, shown, umount_command
from holdfast.system.children.expendable import await_ends, in_expendable_child
from holdfast.system.files.syncfs import sync_file_system
from holdfast.system.fuse.cover import Covers
from holdfast.system.mounts.visitor import Visitor, has_foreign_owner, ways_to
from holdfast.system.storage.block import disk_sequence

SYNC_SECONDS = 120.0
"""Dirty pages of a large cache are written first; the kernel's hung-task watchdog has the same."""

DISMOUNT_SECONDS = 60.0
"""After the sync there is little left to write."""

_LET_GO_SECONDS = 2.0
"""Whoever looks at a block device (udev) lets go of it within milliseconds."""

_BRIEF_SECONDS = 0.5
"""A program that works by path uses the file system for moments; it is waited for so long."""

_BRIEF_POLL_SECONDS = 0.0005

_POLL_SECONDS = 0.005
_TO_SYNC = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def dismount(
    points: Sequence[MountPoint],
    sync_seconds: float = SYNC_SECONDS,
    dismount_seconds: float = DISMOUNT_SECONDS,
    covers: Covers | None = None,
    *,
    must_sync: bool = True,
    others: bool = True,
    parked: ParkedMounts | None = None,
    leaves_covered: bool = False,
    note: Callable[[Finding], None] = lambda finding: None,
) -> tuple[MountPoint, ...]:
    """Dismount all of them, in this order; idempotent: those that are gone already are passed over.

    `others`: and every other mount that the same file system has by now. The file system is synced
    first; without `must_sync` one that cannot be synced any more (it met an error, which its users
    were told) is dismounted all the same. `covers`: put where its mounts were, until `remount`; who
    opens a path there waits. Returns every point that is to be mounted again: those given, with
    what they showed in the end, and the others; without the surplus of strangers (see `recording`),
    which is dismounted for good, first, and lost also when the rest is refused: `note` is told
    whose it was. `parked`: what is mounted below, and is moved away meanwhile; from then on, also
    when this is refused, covers stay and it is parked, until `returning.put_back`.
    `leaves_covered`: when this is refused, what is gone by then is not mounted again; the caller
    does. Blocks while dirty pages are written. Raises InUse naming who keeps it busy, with
    everything mounted as before; DeadlinePassed when the storage hangs, and then the mounts may be
    half gone: `dismount_dead` or `remount` go on.
    """
    if not points or _has_changed_hands(points[-1]):
        return tuple(points)
    with nullcontext() if must_sync else suppress(StorageFailed):
        sync(points, sync_seconds)
    points, beyond = parted(with_all_others(points) if others else points)
    for finding in about_surplus(beyond):
        note(finding)
    pinned = dismount_first(points, beyond, dismount_seconds)
    await_ends(_BRIEF_SECONDS)
    leave = leaves_covered and covers is not None
    done = _dismount_some(points, dismount_seconds, covers, parked, leave=leave)
    deadline = time.monotonic() + _LET_GO_SECONDS
    try:
        refuse_left(dismount_unrecorded(pinned, dismount_seconds))
        while not _is_let_go(points[-1]):
            # Not by their numbers: the kernel gives those of the ones that are gone to the next.
            places = {(each.namespace, each.path) for each in done}
            new = [each for each in capture_device(points[-1].device)
                   if each.is_on_same_as(points[-1])]  # fmt: skip
            for each in new:
                if (each.namespace, each.path) in places:
                    raise by_somebody_else(each)
            if new:
                more = _dismount_some(new, dismount_seconds, covers, leave=leave)
                done = with_later_ones(done, more)
            elif time.monotonic() > deadline:
                raise InUse(
                    f"{points[-1].source} is dismounted everywhere in sight, and still in use:"
                    f" {suspects(points)} keeps it",
                    "It is mounted again; end what keeps it, then try again.",
                )
            else:
                time.sleep(_POLL_SECONDS)
    except InUse:
        if not leave:
            _mount_again(done, stays_covered=parked is not None)
        raise
    kept = recordable(done)
    for finding in about_surplus(surplus(done, kept)):  # of what was mounted meanwhile
        note(finding)
    return kept


def _dismount_some(
    points: Sequence[MountPoint],
    timeout_seconds: float,
    covers: Covers | None,
    parked: ParkedMounts | None = None,
    *,
    leave: bool,
) -> tuple[MountPoint, ...]:
    """What `points` were in the end: what a bind shows may have been renamed until then. `leave`:
    those that are gone stay so when one refuses."""
    with ways_to(points) as ways:
        refusal, points = in_expendable_child(
            lambda: _dismount_all(points, ways, covers, parked, leave=leave),
            timeout_seconds,
            _named(points),
        )
    if refusal is not None:
        path, words, mend = refusal
        users = "" if mend else f": {users_in_words(points)}"
        raise InUse(
            f"{path} cannot be dismounted ({words}){users}",
            mend or "Let them finish or stop them, then try again.",
        )
    return tuple(points)


def sync(points: Sequence[MountPoint], timeout_seconds: float = SYNC_SECONDS) -> None:
    """Write what the file system has not written yet: syncfs(2) through one of its mounts.

    Raises DeadlinePassed when it takes longer, StorageFailed when it fails.
    """
    with ways_to(points) as ways:
        in_expendable_child(lambda: _sync_any(points, ways), timeout_seconds, _named(points))


def _named(points: Sequence[MountPoint]) -> str:
    return f"the file system at {points[-1].path}"


def _sync_any(points: Sequence[MountPoint], ways: Mapping[int, int]) -> None:
    """Sync through the first mount that is still there; runs in the child."""
    free_if_kept_waiting(ways)
    visitor = Visitor()
    for there, _ in tables(visitor, points[::-1], ways):
        for point in there:
            with suppress(OSError):
                spot = os.open(point.path, _TO_SYNC)
                try:
                    if visitor.mount_number(spot) == point.id:
                        _sync(spot, point.path)
                        return
                finally:
                    os.close(spot)


def _sync(spot: int, path: str) -> None:
    try:
        sync_file_system(spot)
    except OSError as error:
        raise StorageFailed(f"{path} cannot be synced: {error.strerror}") from error


_Refusal = tuple[str, str, str]
"""Which mount refused, why, and what to do about it; without a mend its users are named."""


def _dismount_all(
    points: Sequence[MountPoint],
    ways: Mapping[int, int],
    covers: Covers | None,
    parked: ParkedMounts | None,
    *,
    leave: bool,
) -> tuple[_Refusal | None, list[MountPoint]]:
    """In the child: None when all are gone, else who refused, after the undoing; and the points as
    they were found."""
    own = own_namespace()
    foreign = {number for number, way in ways.items() if has_foreign_owner(way)}
    free_if_kept_waiting(ways)
    visitor = Visitor()
    parking = None if covers is None or parked is None else Parking(visitor, parked)
    layers = sum(map(parking.concerns, points)) if parking is not None else 0
    covering = None if covers is None else Covering(visitor, covers, points, layers)
    wanted = _as_now(visitor, points, ways)
    gone = next((each for each in wanted if each.shows_deleted and each.namespace in ways), None)
    if gone is not None:
        return _about_deleted(gone, own), wanted
    beyond = next(
        (each for each in wanted if not each.is_within_reach and each.namespace in ways), None
    )
    if beyond is not None:
        return _about_beyond_reach(beyond), wanted
    theirs = [point for point in wanted if point.namespace in foreign]
    for there, table in tables(visitor, theirs, ways):
        for point in lost(there, table.values())[:1]:
            return _about_hidden(point), wanted
    found = list(wanted)
    wanted = [point for point in wanted if point.namespace in ways]
    copies: dict[int, Piece] = {}
    copy_visible(visitor, wanted, ways, copies)
    refusal: _Refusal | None = None
    bearing = [each for each in wanted if parking is not None and parking.concerns(each)]
    for point in wanted:
        if point in bearing:
            continue  # when the others are gone: see Parking
        visitor.enter(ways[point.namespace])
        if not is_there(point, visitor.mounts()):
            continue  # propagation took it along
        if point.id not in copies:
            refusal = _about_hidden(point)
            break
        try:
            _dismount_one(visitor, point, covering)
        except OSError as error:
            refusal = point.path, error.strerror or str(error), ""
            break
        if len(copies) < len(wanted):
            copy_visible(visitor, wanted, ways, copies)
    if refusal is None and parking is not None and covering is not None:
        refusal = _dismount_bearing(visitor, bearing, ways, copies, parking, covering)
    if refusal is not None and not leave:
        mountable = [copies[point.id] for point in reversed(wanted) if point.id in copies]
        bring_back(visitor, mountable, ways, own, stays_covered=parking is not None)
    for piece in copies.values():  # not left to the end of the child: that would answer too early
        os.close(piece.tree)
        if piece.group is not None:
            os.close(piece.group)
    return refusal, found


def _dismount_bearing(
    visitor: Visitor,
    points: Sequence[MountPoint],
    ways: Mapping[int, int],
    copies: Mapping[int, Piece],
    parking: Parking,
    covering: Covering,
) -> _Refusal | None:
    """Dismount those on which others lie, which are parked. All are out of sight before the first
    one goes: brought back, one would appear on peers of its place that have theirs still."""
    path = ""
    for there, _ in tables(visitor, points, ways):
        for point in there:
            if point.id not in copies:
                return _about_hidden(point)
    try:
        parking.take(points, ways, covering)
        for point in points:
            path = point.path
            visitor.enter(ways[point.namespace])
            parking.dismount(point)
    except OSError as error:
        return error.filename or path, error.strerror or str(error), ""
    return None


def _as_now(
    visitor: Visitor, points: Sequence[MountPoint], ways: Mapping[int, int]
) -> list[MountPoint]:
    """The points, with what each shows now."""
    shown_now = {
        point: table[point.id].root.lstrip("/")
        for there, table in tables(visitor, points, ways)
        for point in there
    }
    return [replace(point, inside=shown_now.get(point, point.inside)) for point in points]


def _about_deleted(point: MountPoint, own: int) -> _Refusal:
    return (
        point.path,
        f"it shows /{point.inside.removesuffix('//deleted')} of the volume, which was deleted or"
        " replaced: it could not be mounted again",
        f"{umount_command(point, own)}, then try again.",
    )


def _about_beyond_reach(point: MountPoint) -> _Refusal:
    return (
        shown(point.path),
        "its path is longer than any system call takes",
        f"End what runs in its mount namespace: process {point.witness_pid} does; then try again.",
    )


def _about_hidden(point: MountPoint) -> _Refusal:
    return (
        shown(point.path),
        f"in the mount namespace of process {point.witness_pid} something is mounted over it, or in"
        " the way to it",
        f"Dismount that there, or end process {point.witness_pid}; then try again.",
    )


def _dismount_one(visitor: Visitor, point: MountPoint, covering: Covering | None) -> None:
    """Dismount the topmost at the point; a program that uses it for a moment is waited for.

    Raises OSError; nothing is changed then, but for a cover that may lie below.
    """
    covered = covering is not None and covering.concerns(point)
    deadline = time.monotonic() + _BRIEF_SECONDS
    while True:
        try:
            if covered and covering is not None:
                if not visitor.expire(point.path):
                    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
                if not is_there(point, visitor.mounts()):
                    break  # somebody had marked it before: what is there now is another's
                with suppress(OSError):
                    covering.put_beneath(point)
            visitor.dismount(point.path)
            break
        except OSError as error:
            if not is_there(point, visitor.mounts()):
                break
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
            time.sleep(_BRIEF_POLL_SECONDS)
    if covered and covering is not None:
        covering.put_on_top(point)


def _is_let_go(point: MountPoint) -> bool:
    """Whether the kernel has let go of a block device; other sources cannot be asked."""
    if not point.source.startswith("/dev/"):
        return True
    if _has_changed_hands(point):
        return True
    return in_expendable_child(lambda: _is_free(point.source), doing=point.source)


def _has_changed_hands(point: MountPoint) -> bool:
    """Whether its loop device shows another image by now, so that nothing of ours is there."""
    return point.disk_sequence not in (0, disk_sequence(disk_of(point)))


def _mount_again(points: Sequence[MountPoint], *, stays_covered: bool) -> None:
    """The super block lives on: its own options stay what they are."""
    old = points[-1]
    read_only = "ro" if "ro" in old.super_options.split(",") else ""
    manner = Manner(undoing=True)
    if stays_covered:
        roots = mount_covered(points, old.source, old.filesystem, read_only, manner=manner).roots
    else:
        roots = remount(points, old.source, old.filesystem, read_only, manner=manner)
    for root in roots.values():
        os.close(root)


def _is_free(device: str) -> bool:
    """Whether nobody has claimed it: O_EXCL of a block device (open(2)) asks for the claim."""
    try:
        os.close(os.open(Path(device), os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        if error.errno == errno.EBUSY:
            return False
    return True
