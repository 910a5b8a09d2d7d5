"""Finding every mount of a file system, in every mount namespace of the host.

Reads /proc only; touches no storage. Invariant: the order of the answer is one in which the mounts
can be dismounted one after the other; its reverse is one in which they can be mounted.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from holdfast.errors import InUse, NotAttached, NotMounted
from holdfast.model.mountpoint import MountPoint
from holdfast.model.volume import Volume
from holdfast.system.fuse.cover_server import FILE_SYSTEM as COVER_TYPE
from holdfast.system.fuse.cover_server import is_cover
from holdfast.system.mounts.all_namespaces import all_mount_points
from holdfast.system.mounts.mount_table import Mount, mount_at
from holdfast.system.mounts.namespace import mount_namespace
from holdfast.system.mounts.visitor import has_foreign_owner, ways_to
from holdfast.system.storage.block import device_number, disk_sequence


def capture(path: str) -> tuple[MountPoint, ...]:
    """Every mount of the file system mounted at this path, in all mount namespaces.

    In the order to dismount them. Does not block. Raises NotMounted when nothing is mounted there.
    Not found: mounts that were detached lazily, and namespaces that no process is in.
    """
    top = mount_at(path)
    if top is None or is_cover(top):
        raise NotMounted(f"nothing is mounted at {path}", "findmnt lists what is mounted.")
    return capture_device(top.device_number)


def mounts_of(volume: Volume) -> tuple[MountPoint, ...]:
    """As `capture`, of a volume that is needed mounted. Raises NotAttached when it is not."""
    try:
        return capture(volume.mount.path)
    except NotMounted:
        raise NotAttached(
            f"{volume.name} is not mounted at {volume.mount.path}",
            f"holdfast volume attach {volume.name}. Who still uses what was detached lazily"
            " (umount -l) is seen then.",
        ) from None


def capture_device(device_number: str) -> tuple[MountPoint, ...]:
    """Every mount of the super block with this MAJOR:MINOR, as `capture` returns them."""
    before = _sequences([device_number])
    while True:
        found = all_mount_points(device_number)
        disks = {point.source: disk_of(point) for point in found}
        now = _sequences(disks.values())
        if now == before or not any(now.values()):
            return in_dismount_order(
                replace(point, disk_sequence=now[disks[point.source]]) for point in found
            )
        before = now  # it changed hands while we looked, or was not known


def disk_of(point: MountPoint) -> str:
    """MAJOR:MINOR of the block device; btrfs has a number of its own for the super block."""
    if point.device.startswith("0:") and point.source.startswith("/dev/"):
        with suppress(OSError):
            return device_number(point.source)
    return point.device


def _sequences(numbers: Iterable[str]) -> dict[str, int]:
    return {number: disk_sequence(number) for number in numbers}


def in_dismount_order(points: Iterable[MountPoint]) -> tuple[MountPoint, ...]:
    """Deeper before shallower, what lies on top before what it hides; our own namespace last.

    Levels go before namespaces: mounted in the reverse order, each mount finds those that the
    kernel's propagation has made for it still in sight.
    """
    chosen = {point.id: point for point in points}
    depths = _depths(chosen)
    own = mount_namespace(os.getpid())
    return tuple(
        sorted(
            chosen.values(),
            key=lambda each: (
                -each.path.rstrip("/").count("/"),
                -depths[each.id],
                each.namespace == own,
                each.namespace,
                -each.id,
            ),
        )
    )


def with_later_ones(
    gone: Sequence[MountPoint], later: Sequence[MountPoint]
) -> tuple[MountPoint, ...]:
    """Mounts that are gone, and others that were made since and are gone, too, in that order. Pure.

    The kernel gives the numbers of the former to the latter: those get numbers that no mount has.
    """
    taken = {each.id for each in gone}
    least = min(0, *taken)
    numbers = {
        each.id: least - 1 - place if each.id in taken else each.id
        for place, each in enumerate(later)
    }
    renamed = [
        replace(each, id=numbers[each.id], parent=numbers.get(each.parent, each.parent))
        for each in later
    ]
    return in_dismount_order((*gone, *renamed))


def _depths(chosen: Mapping[int, MountPoint]) -> dict[int, int]:
    """How many of these mounts each lies on, by number: a stranger may stack thousands."""
    depths: dict[int, int] = {}
    for point in chosen.values():
        above: list[int] = []
        each: MountPoint | None = point
        while each is not None and each.id not in depths:
            above.append(each.id)
            depths[each.id] = 0  # numbers are used again: two that are gone may name each other
            each = chosen.get(each.parent) if each.parent != each.id else None
        depth = -1 if each is None else depths[each.id]
        for number in reversed(above):
            depth += 1
            depths[number] = depth
    return depths


def is_there(point: MountPoint, mounts: Iterable[Mount]) -> bool:
    """Whether a mount table of its namespace still has it; numbers alone are used again."""
    return any(
        each.identifier == point.id
        and each.path == point.path
        and each.device_number == point.device
        for each in mounts
    )


def newcomers(points: Sequence[MountPoint]) -> list[MountPoint]:
    """What somebody has mounted since these mounts were dismounted: the same storage anywhere, or
    anything at one of their places, where root alone can. Does not block."""
    foreign = foreign_namespaces(points)
    old = {
        (point.namespace, point.path): point for point in points if point.namespace not in foreign
    }
    ids = {point.id for point in points}
    found = [each for each in capture_device(points[-1].device)
             if each.is_on_same_as(points[-1]) and each.source == points[-1].source]  # fmt: skip
    for each in all_mount_points():
        point = old.get((each.namespace, each.path))
        if point is None or point.parent in ids or each.id == point.parent:
            continue
        if each.filesystem != COVER_TYPE and each.id not in ids:
            found.append(each)
    return found


def by_somebody_else(each: MountPoint) -> InUse:
    """The error that names what was mounted while the volume was away."""
    return InUse(
        f"{each.source} ({each.filesystem}) was mounted at {each.path} by somebody else while"
        " the volume was away",
        f"umount {each.path}, and see to what mounts it there (autofs, systemd, cron).",
    )


def nested_mounts(points: Sequence[MountPoint]) -> tuple[MountPoint, ...]:
    """Mounts of other file systems below these: they must go before. Does not block."""
    ours = {point.id for point in points}
    if not any(point.nested for point in points):
        return ()
    found: list[MountPoint] = []
    everything = all_mount_points()
    pinned = set(ours)
    while True:
        more = [each for each in everything if each.parent in pinned and each.id not in pinned]
        if not more:
            return tuple(found)
        found += more
        pinned.update(each.id for each in more)


def foreign_namespaces(points: Sequence[MountPoint]) -> set[int]:
    """Numbers of the mount namespaces among theirs that belong to another user namespace.

    A mount that was copied into such a one is locked there (mount_namespaces(7)). Does not block.
    """
    with ways_to(points) as ways:
        return {number for number, way in ways.items() if has_foreign_owner(way)}
