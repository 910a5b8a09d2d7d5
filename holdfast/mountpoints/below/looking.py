"""Which mounts of other file systems lie on a volume, and which of them cannot be parked.

Reads /proc only; does not block. Must never change anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from holdfast.model.finding import Finding, Verdict
from holdfast.model.mount_below import MountBelow, ParkedMounts
from holdfast.model.mountpoint import MountPoint
from holdfast.mountpoints.capture import foreign_namespaces, nested_mounts
from holdfast.mountpoints.whereabouts import in_words, umount_command
from holdfast.system.mounts.all_namespaces import all_mount_points
from holdfast.system.mounts.mount_api import can_attach_beneath

PLACE_TYPE = "tmpfs"


def mounts_below(points: Sequence[MountPoint]) -> tuple[MountBelow, ...]:
    """Those directly on these mounts that can be parked. Does not block."""
    below, against = _judged(points)
    return tuple(each for each in below if each.mount.id not in against)


def about_below(points: Sequence[MountPoint], *, can_park: bool) -> list[Finding]:
    """What is said of everything that is mounted below. `can_park`: whether this is a move that
    parks what it can."""
    if not can_park:
        meaning = "A file system with others mounted on it cannot be dismounted."
        return [_blocker(each, meaning) for each in nested_mounts(points)]
    below, against = _judged(points)
    return [
        _blocker(each.mount, against[each.mount.id])
        if each.mount.id in against
        else _about_parked(each.mount)
        for each in below
    ]


def is_place(mount_source: str, filesystem: str, parked: ParkedMounts) -> bool:
    """Whether what the mount table says of a mount is that of a parking place."""
    return filesystem == PLACE_TYPE and mount_source == parked.name


def parked_now(parked: ParkedMounts) -> list[tuple[MountBelow, MountPoint]]:
    """Those that are not where they were, each with the mount as it is now. Does not block."""
    everything = {(each.namespace, each.id): each for each in all_mount_points()}
    found = []
    for each in parked.mounts:
        now = everything.get((each.mount.namespace, each.mount.id))
        if now is not None and now.device == each.mount.device and now.path != each.mount.path:
            found.append((each, now))
    return found


def in_words_parked(each: MountBelow, now: MountPoint) -> str:
    """One that is parked, for people, with the command that puts it back."""
    return f"{now.source} ({now.filesystem}) of {in_words(each.mount)} is parked: {mend(each, now)}"


def left_in_words(parked: ParkedMounts) -> list[str]:
    """Which parking places there are, and mounts of the volume in them, in the order to dismount
    them when nothing is parked there any more. Does not block."""
    everything = all_mount_points()
    places = [each for each in everything if is_place(each.source, each.filesystem, parked)]
    numbers = {each.id for each in places}
    parked_ones = {each.mount.id for each in parked.mounts}
    within = [each for each in everything if each.parent in numbers and each.id not in parked_ones]
    return [
        f"{each.source} ({each.filesystem}) is mounted at {in_words(each)}: {umount_command(each)}"
        for each in (*within, *places)
    ]


def mend(each: MountBelow, now: MountPoint, own: int | None = None) -> str:
    """What a reader types to put it back by hand."""
    before = umount_command(now, own).partition("umount ")[0]
    return f"{before}mount --move {now.path} {each.mount.path}"


def _judged(
    points: Sequence[MountPoint],
) -> tuple[list[MountBelow], dict[int, str]]:
    """Those directly on these mounts, and why some of them (by id) cannot be parked."""
    ours = {point.id: point for point in points}
    if not any(point.nested for point in points):
        return [], {}
    everything = {each.id: each for each in all_mount_points()}
    below = [
        MountBelow(each, each.parent)
        for each in everything.values()
        if each.parent in ours and each.id not in ours
    ]
    if not below:
        return [], {}
    foreign = foreign_namespaces(points)
    bears_ours = {number for point in points for number in _above(point, everything)}
    against = {}
    for each in below:
        why = _against(each, ours, everything, foreign, each.mount.id in bears_ours)
        if why:
            against[each.mount.id] = why
    return below, against


def _against(
    each: MountBelow,
    ours: Mapping[int, MountPoint],
    everything: Mapping[int, MountPoint],
    foreign: set[int],
    bears_ours: bool,
) -> str:
    """Why it cannot be parked; empty: it can."""
    mount, under = each.mount, ours[each.under]
    if mount.namespace in foreign:
        return "It is locked in a mount namespace that belongs to another user namespace."
    if not can_attach_beneath():
        return "Before Linux 6.5 who comes by path meanwhile could not be kept waiting."
    if bears_ours:
        return "The volume itself is mounted on it once more."
    if under.parent in ours:
        return "It lies on a mount of the volume that lies on the volume itself."
    if mount.path == under.path:
        return "It lies over the volume's own mount point."
    if any(other.parent == mount.id and other.path == mount.path for other in everything.values()):
        return "Something else is mounted over it, at the same place."
    if not mount.is_within_reach:
        return "Its path is longer than any system call takes."
    return ""


def _above(point: MountPoint, everything: Mapping[int, MountPoint]) -> set[int]:
    """The numbers of all mounts that this one lies on."""
    found: set[int] = set()
    parent = point.parent
    while parent in everything and parent not in found:
        found.add(parent)
        parent = everything[parent].parent
    return found


def _blocker(mount: MountPoint, meaning: str) -> Finding:
    return Finding(
        "nested mount",
        Verdict.BLOCKS,
        f"{mount.source} ({mount.filesystem}) is mounted at {in_words(mount)}, below this volume",
        meaning,
        f"{umount_command(mount)}, and mount it again afterwards.",
    )


def _about_parked(mount: MountPoint) -> Finding:
    return Finding(
        "nested mount",
        Verdict.LIMITED,
        f"{mount.source} ({mount.filesystem}) is mounted at {in_words(mount)}, below this volume",
        "It is parked while the volume is away. Its users go on; who comes by path waits.",
    )
