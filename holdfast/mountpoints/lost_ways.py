"""Mounts whose path leads elsewhere by now, and may lead to where nobody answers.

Who has a mount namespace by way of a user namespace of his own can mount an overlay in the way to
his copy of a volume. An overlay looks names up with the rights of its owner, so a FUSE file system
below it, which refuses root by itself, makes root wait in the kernel for as long as it likes. The
mount table alone is read here: nothing is walked, and nothing blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from holdfast.model.finding import Finding, Verdict
from holdfast.model.mountpoint import MountPoint
from holdfast.mountpoints.surplus.recording import recordable
from holdfast.mountpoints.whereabouts import in_words
from holdfast.system.mounts.all_namespaces import read_mount_points
from holdfast.system.mounts.mount_table import Mount


def lost(points: Sequence[MountPoint], table: Iterable[Mount | MountPoint]) -> list[MountPoint]:
    """Those of these, all of one namespace, that their path does not lead to, where an overlay in
    that namespace's mount table may be what it leads to. A symbolic link takes the path anywhere,
    so it may be any."""
    mounts = [_relation(each) for each in table]
    if not any(filesystem == "overlay" for *_, filesystem in mounts):
        return []
    own = {point.id for point in points}
    hidden: set[int] = set()
    lead_parent, lead = 0, ""
    for parent, path, number, _ in sorted(mounts):
        if parent == number:
            continue  # the first of all, which is mounted on nothing
        if parent == lead_parent and lead and path != lead and path.startswith(lead):
            hidden.add(number)
        elif number not in own:  # what is hidden by the volume itself comes to sight as that goes
            lead_parent, lead = parent, path
    parents = {number: parent for parent, _, number, _ in mounts}
    return [point for point in points if _is_below(point.id, hidden, parents)]


def _relation(mount: Mount | MountPoint) -> tuple[int, str, int, str]:
    """Parent, path with a slash at its end (so that what is below it sorts right after it), number
    and type."""
    number = mount.id if isinstance(mount, MountPoint) else mount.identifier
    return mount.parent, f"{mount.path.rstrip('/')}/", number, mount.filesystem


def _is_below(number: int, hidden: set[int], parents: dict[int, int]) -> bool:
    """Whether this mount is hidden, or one that it is mounted on; `parents` is used up, so that
    many on top of each other are looked at once."""
    seen = []
    while number in parents and number not in hidden:
        seen.append(number)
        number = parents.pop(number)
    if number in hidden:
        hidden.update(seen)
    return number in hidden


def about_lost(
    points: Sequence[MountPoint], foreign: set[int], *, is_broken: bool
) -> list[Finding]:
    """One for each of these namespaces, which belong to other user namespaces. Reads /proc; those
    with too much to read (see `recordable`) are passed over."""
    kept = [point for point in recordable(points) if point.namespace in foreign] if foreign else []
    found = []
    for namespace in {point.namespace for point in kept}:
        theirs = [point for point in kept if point.namespace == namespace]
        with suppress(OSError):  # its last process has ended
            gone = lost(theirs, read_mount_points(theirs[0].witness_pid))
            found += [_about(each, is_broken=is_broken) for each in gone[:1]]
    return found


def _about(point: MountPoint, *, is_broken: bool) -> Finding:
    user = Path(f"/proc/{point.witness_pid}").stat().st_uid
    return Finding(
        "mount that its path does not lead to",
        Verdict.LIMITED if is_broken else Verdict.BLOCKS,
        f"{in_words(point)} (user {user}) has something mounted in the way to it, and there is an"
        " overlay there",
        "Whoever goes that way may have to wait for as long as that user likes.",
        f"Dismount that there, or end process {point.witness_pid}.",
    )
