"""Dismounting what is not mounted again: the surplus of strangers, see `recording`.

A stranger has as many mounts as he likes, at paths as long as he likes. So nothing here looks at a
whole mount table for each of them, and no copy is kept. Must never dismount lazily.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from holdfast.errors import HoldfastError, InUse
from holdfast.model.finding import Finding
from holdfast.model.mountpoint import MountPoint
from holdfast.mountpoints.busy import users_in_words
from holdfast.mountpoints.capture import capture_device, in_dismount_order, is_there
from holdfast.mountpoints.kept_waiting import free_if_kept_waiting
from holdfast.mountpoints.surplus.recording import about_surplus, recordable, surplus
from holdfast.mountpoints.whereabouts import in_words
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.mounts import mount_api
from holdfast.system.mounts.visitor import Visitor, ways_to

_ROUNDS = 5
_PAUSE_SECONDS = 0.05
"""Between two rounds: a program that uses a mount for a moment is waited for."""

_DEAD_SECONDS = 10.0
"""What does not go in that time is dismounted by force, one by one."""


def with_all_others(points: Sequence[MountPoint]) -> tuple[MountPoint, ...]:
    """These, and every other mount of the same super block that there is now, to be dismounted."""
    known = {point.id for point in points}
    others = [each for each in capture_device(points[-1].device)
              if each.id not in known and each.is_on_same_as(points[-1])]  # fmt: skip
    return in_dismount_order((*points, *others)) if others else tuple(points)


def refuse_left(points: Sequence[MountPoint]) -> None:
    """Raise InUse that names whose mounts these are, which could not be dismounted."""
    if points:
        raise InUse(
            f"{in_words(points[0])} cannot be dismounted: {users_in_words(points)}",
            f"End process {points[0].witness_pid}, then try again.",
        )


def parted(
    points: Sequence[MountPoint],
) -> tuple[tuple[MountPoint, ...], tuple[MountPoint, ...]]:
    """Those of these mounts that are mounted again (or out of reach), and the surplus."""
    beyond = surplus(points, recordable(points))
    numbers = {point.id for point in beyond}
    return tuple(point for point in points if point.id not in numbers), beyond


def dismount_first(
    points: Sequence[MountPoint], beyond: Sequence[MountPoint], timeout_seconds: float
) -> tuple[MountPoint, ...]:
    """Dismount the surplus but for what others of ours lie on, which is returned.

    Raises InUse, DeadlinePassed with everything but the surplus mounted as before.
    """
    if any(not point.is_within_reach or point.shows_deleted for point in points):
        return tuple(beyond)  # it will be refused: nobody is to lose anything for it
    left = dismount_unrecorded(beyond, timeout_seconds)
    numbers = {point.id for point in left}
    parents = {point.id: point.parent for point in (*points, *left)}
    needed = {parents[point.id] for point in points}
    while more := {parents[each] for each in needed & numbers} - needed:
        needed |= more
    refuse_left([point for point in left if point.id not in needed])
    return left


def dismount_dead_first(
    points: Sequence[MountPoint],
) -> tuple[tuple[MountPoint, ...], list[Finding]]:
    """All mounts of a dead file system that are left when most of the surplus is dismounted, and
    whose that was."""
    points, beyond = parted(with_all_others(points))
    findings = about_surplus(beyond)
    with suppress(HoldfastError):
        beyond = dismount_unrecorded(beyond, _DEAD_SECONDS)
    return in_dismount_order((*points, *beyond)), findings


def dismount_unrecorded(
    points: Sequence[MountPoint], timeout_seconds: float
) -> tuple[MountPoint, ...]:
    """Dismount each of them that can be, in this order; those that are still there.

    Idempotent. Raises DeadlinePassed when a namespace's own file systems do not answer.
    """
    if not points:
        return ()
    with ways_to(points) as ways:
        reached = [point for point in points if point.namespace in ways]
        left = in_expendable_child(
            lambda: _dismount_all(reached, ways), timeout_seconds, "mounts of another user"
        )
    return tuple(point for point in reached if point.id in left)


def _dismount_all(points: Sequence[MountPoint], ways: Mapping[int, int]) -> set[int]:
    """In the child: the numbers of those that are still there."""
    free_if_kept_waiting(ways)
    visitor = Visitor()
    left = list(points)
    for each_round in range(_ROUNDS):
        if each_round:
            time.sleep(_PAUSE_SECONDS)
        left = _one_round(visitor, left, ways)
        if not left:
            break
    return {point.id for point in left}


def _one_round(
    visitor: Visitor, points: Sequence[MountPoint], ways: Mapping[int, int]
) -> list[MountPoint]:
    left = []
    for namespace in dict.fromkeys(point.namespace for point in points):
        theirs = [point for point in points if point.namespace == namespace]
        visitor.enter(ways[namespace])
        for point in theirs:
            with suppress(OSError):
                _dismount(visitor, point)
        mounts = {each.identifier: each for each in visitor.mounts()}
        left += [
            point for point in theirs if point.id in mounts and is_there(point, [mounts[point.id]])
        ]
    return left


def _dismount(visitor: Visitor, point: MountPoint) -> None:
    """Dismount it where it is the topmost. Raises OSError."""
    spot = mount_api.open_place(point.path)
    try:
        number = visitor.mount_number(spot)
    finally:
        os.close(spot)
    if number == point.id:
        visitor.dismount(point.path)
