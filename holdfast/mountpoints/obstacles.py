"""Why the mounts of a file system cannot be dismounted, or not be mounted again exactly.

Reads /proc and tracefs only; does not block. Must never change anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from holdfast.model.finding import Finding, Verdict
from holdfast.model.mountpoint import MountPoint
from holdfast.mountpoints.below.looking import about_below
from holdfast.mountpoints.capture import foreign_namespaces
from holdfast.mountpoints.lost_ways import about_lost
from holdfast.mountpoints.surplus.recording import about_recording
from holdfast.mountpoints.whereabouts import in_words, umount_command
from holdfast.system.messages.printable import printable
from holdfast.system.mounts.mount_api import UNREPRODUCIBLE_OPTIONS
from holdfast.system.mounts.mount_table import is_under
from holdfast.system.mounts.uprobes import uprobes


def obstacles(
    points: Sequence[MountPoint], *, is_broken: bool = False, parks_below: bool = False
) -> list[Finding]:
    """Why these mounts cannot be dismounted, or not be restored exactly; empty: nothing known.

    A finding that `blocks` makes `dismount` raise InUse. `is_broken`: it is dismounted whatever it
    takes. `parks_below`: what is mounted below is parked, where it can be. Does not block and
    touches nothing.
    """
    found = about_below(points, can_park=parks_below)
    found += _about_uprobes(points)
    found += about_recording(points)
    owners = foreign_namespaces(points)
    found += _about_locked(points, owners)
    found += about_lost(points, owners, is_broken=is_broken)
    groups = {point.peer_group for point in points}
    for point in points:
        found += _obstacles_of(point, groups)
        if not point.is_within_reach:
            found.append(_about_beyond_reach(point))
        if point.shows_deleted:
            found.append(_about_deleted(point, is_broken=is_broken))
    return found


def _about_uprobes(points: Sequence[MountPoint]) -> list[Finding]:
    return [
        Finding(
            "uprobe",
            Verdict.BLOCKS,
            f"{printable(each.event)} is set in {printable(each.path)}",
            "It keeps the file system in use, and no process can be stopped for it.",
            each.mend,
        )
        for each in uprobes()
        if any(is_under(each.path, point.path) for point in points)
    ]


def _about_locked(points: Sequence[MountPoint], foreign: set[int]) -> list[Finding]:
    """One for each namespace: a stranger may have as many mounts in his as he likes."""
    firsts = {each.namespace: each for each in points if each.namespace in foreign}
    counts = Counter(each.namespace for each in points)
    return [
        Finding(
            "locked mount",
            Verdict.LIMITED,
            f"{in_words(first)}{f' and {counts[number] - 1} more' if counts[number] > 1 else ''}"
            " belongs to another user namespace",
            "A mount that was copied into it is locked there; the dismount may be refused.",
            "Stop what runs there if it is.",
        )
        for number, first in firsts.items()
    ]


def _about_deleted(point: MountPoint, *, is_broken: bool) -> Finding:
    what = f"/{point.inside.removesuffix('//deleted')}"
    return Finding(
        "mount of something deleted",
        Verdict.LIMITED if is_broken else Verdict.BLOCKS,
        f"{in_words(point)} shows {what} of the volume, which was deleted, or replaced by rename",
        "It has no name any more by which it could be mounted again.",
        f"{umount_command(point)}, and mount there what is to be there now.",
    )


def _about_beyond_reach(point: MountPoint) -> Finding:
    return Finding(
        "mount with a path that is too long",
        Verdict.BLOCKS,
        f"{in_words(point)} has a path of {len(point.path)} characters",
        "No system call takes that: it cannot be dismounted from outside.",
        f"End what runs in its mount namespace: process {point.witness_pid} does.",
    )


def _obstacles_of(point: MountPoint, groups: set[int]) -> list[Finding]:
    found = []
    if point.path == "/":
        found.append(
            Finding(
                "root of a namespace",
                Verdict.BLOCKS,
                f"it is the root directory of the mount namespace of process {point.witness_pid}",
                "The root of a namespace cannot be dismounted.",
                "Stop the container or service that has it as its root.",
            )
        )
    if point.master_group and point.master_group not in groups:
        found.append(
            Finding(
                "propagation",
                Verdict.LIMITED,
                f"{in_words(point)} receives mounts from peer group {point.master_group},"
                " which has no other mount of this volume that can be seen",
                "It will not receive them after the remount.",
            )
        )
    for option in sorted(UNREPRODUCIBLE_OPTIONS.intersection(point.options.split(","))):
        found.append(
            Finding(
                "mount option",
                Verdict.BLOCKS,
                f"{in_words(point)} is mounted with {option!r}",
                "The kernel does not tell what it takes to set it again.",
                f"{umount_command(point)} by hand, and mount it again afterwards.",
            )
        )
    return found
