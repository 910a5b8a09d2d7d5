"""Putting detached mounts where others were: the part of a remount that every namespace gets.

Works inside an expendable child that a Visitor leads. Invariants: where the kernel's own
propagation has put the right mount already, that one is taken instead of a second one; what
somebody else has mounted at a place is never hidden without a finding; a place that is covered is
uncovered only when everything is in place below, or later (see `uncovering`). The pieces join their
peers only when all are in place: until then what is mounted below one must not reach the others.
Each place has the per-mount options that its MountPoint says from its first instant, and their
propagation afterwards. In undoing, a mount that fails keeps no other away.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import field, replace

from holdfast.errors import InUse
from holdfast.late_dataclass import dataclass
from holdfast.model.finding import Finding, Verdict
from holdfast.model.mountpoint import MountPoint
from holdfast.mountpoints.whereabouts import in_words, own_namespace
from holdfast.system.fuse.cover_server import is_cover
from holdfast.system.mounts import mount_api
from holdfast.system.mounts.mount_table import MNT_DETACH, Mount, is_under
from holdfast.system.mounts.visitor import Visitor, has_foreign_owner


@dataclass(frozen=True)
class Piece:
    """What is to be mounted at one point."""

    point: MountPoint
    tree: int
    """A detached mount of what the point shows."""
    group: int | None
    """A mount that has the peers and the master the point had; None: it had none."""


@dataclass
class Placed:
    """What has been done so far: enough to take it back."""

    roots: dict[int, int] = field(default_factory=dict)
    """Old mount id → O_PATH descriptor of the mount's root."""
    points: list[MountPoint] = field(default_factory=list)
    """Those that have a root, in that order."""
    attached: list[MountPoint] = field(default_factory=list)
    """Those of them where we mounted something ourselves."""
    covers: set[str] = field(default_factory=set)
    """MAJOR:MINOR of the covers that were met."""
    findings: list[Finding] = field(default_factory=list)
    own: int = field(default_factory=own_namespace)
    """The mount namespace that findings are read in."""


@dataclass(frozen=True)
class Manner:
    """How it is placed."""

    undoing: bool = False
    """What cannot be placed is left out, and what is in the way is buried; findings say so. Else
    both are errors."""
    stays_covered: bool = False
    """Covers are left above what is mounted: whoever comes by path waits until they go."""


def place(
    visitor: Visitor,
    pieces: Sequence[Piece],
    ways: Mapping[int, int],
    device_number: str,
    placed: Placed,
    manner: Manner = Manner(),  # noqa: B008 - it is frozen
) -> None:
    """Mount every piece at its point, in this order, and note in `placed` what was done.

    `device_number` is the MAJOR:MINOR of the trees. Points in namespaces without a way in are left
    out. Raises InUse when somebody else has mounted something there; OSError, with the path as its
    filename.
    """
    pieces = [piece for piece in pieces if piece.point.namespace in ways]
    claimed: set[int] = set()
    manners = _manners(pieces, ways, manner)
    if not manner.undoing:
        for piece in pieces:
            if (
                not manners[piece.point.namespace].undoing
                and _above(piece.point, [each.point for each in pieces]) is None
            ):
                visitor.enter(ways[piece.point.namespace])
                with suppress(OSError):  # it is said below what is wrong with the place
                    _check_free(visitor, piece.point, device_number)
    for piece in pieces:
        point = piece.point
        try:
            visitor.enter(ways[point.namespace])
            placed.roots[point.id] = _take(
                visitor, piece, device_number, claimed, placed, manners[point.namespace]
            )
            placed.points.append(point)
        except OSError as error:
            if not manners[point.namespace].undoing:
                raise OSError(error.errno, error.strerror, point.path) from error
            placed.findings.append(left_out(point, placed.own, error.strerror or str(error)))
    for piece in pieces:
        if _above(piece.point, [each.point for each in pieces]) is None:
            try:
                visitor.enter(ways[piece.point.namespace])
                _uncover(visitor, piece.point, placed, manners[piece.point.namespace])
            except OSError as error:
                if not manners[piece.point.namespace].undoing:
                    raise OSError(error.errno, error.strerror, piece.point.path) from error
                why = error.strerror or str(error)
                placed.findings.append(_otherwise(piece.point, placed.own, why))
    for piece in pieces:
        root = placed.roots.get(piece.point.id, -1)
        if root < 0:
            continue
        try:
            visitor.enter(ways[piece.point.namespace])
            mount_api.set_attributes(root, mount_api.attributes_of(piece.point.options))
            _set_propagation(piece, root, placed)
        except OSError as error:
            if not manners[piece.point.namespace].undoing:
                raise OSError(error.errno, error.strerror, piece.point.path) from error
            why = error.strerror or str(error)
            placed.findings.append(_otherwise(piece.point, placed.own, why))


def _manners(pieces: Sequence[Piece], ways: Mapping[int, int], manner: Manner) -> dict[int, Manner]:
    """By namespace. Who owns one by way of a user namespace can change it at any instant: what is
    wrong there is his, and no reason to fail for everybody else."""
    found = dict.fromkeys((piece.point.namespace for piece in pieces), manner)
    if not manner.undoing:  # the visitor is in a namespace of its own still
        for number in found:
            if has_foreign_owner(ways[number]):
                found[number] = replace(manner, undoing=True)
    return found


def take_back(visitor: Visitor, ways: Mapping[int, int], placed: Placed) -> None:
    """Dismount what `place` mounted; what refuses is detached lazily: nobody has seen it yet."""
    for point in reversed(placed.attached):
        root = placed.roots.pop(point.id, -1)
        if root < 0:
            continue
        visitor.enter(ways[point.namespace])
        for flags in (0, MNT_DETACH):
            try:
                visitor.dismount_exactly(root, flags)
                break
            except OSError:
                continue
        os.close(root)
    placed.attached.clear()
    for root in placed.roots.values():
        os.close(root)
    placed.roots.clear()


def _above(point: MountPoint, points: Sequence[MountPoint]) -> MountPoint | None:
    """The deepest of these points that lies above this one in its namespace: it leads there."""
    found = [
        each
        for each in points
        if each.namespace == point.namespace
        and each.path != point.path
        and is_under(point.path, each.path)
    ]
    return max(reversed(found), key=lambda each: len(each.path), default=None)


def _open_spot(point: MountPoint, placed: Placed) -> int:
    """The topmost thing at the point, reached through our own mount above it, which may be covered.

    Raises OSError.
    """
    above = _above(point, placed.points)
    if above is None:
        return mount_api.open_place(point.path)
    inner = point.path[len(above.path) :].lstrip("/")
    return mount_api.open_place(inner, placed.roots[above.id])


def _mount_of(visitor: Visitor, spot: int) -> tuple[Mount | None, dict[int, Mount]]:
    """The mount that a descriptor is open on, and all mounts of the namespace by number."""
    mounts = {each.identifier: each for each in visitor.mounts()}
    return mounts.get(visitor.mount_number(spot)), mounts


def _is_ours(mount: Mount | None, point: MountPoint, device_number: str) -> bool:
    """Whether it shows at this point what is to be there."""
    return (
        mount is not None
        and mount.path == point.path
        and mount.device_number == device_number
        and mount.root.lstrip("/") == point.inside
    )


def _stranger(mount: Mount | None, point: MountPoint) -> Mount | None:
    """A mount that was not there before: neither a cover nor what the point was mounted on."""
    if mount is None or mount.path != point.path or is_cover(mount):
        return None
    return None if mount.identifier == point.parent else mount


def _check_free(visitor: Visitor, point: MountPoint, device_number: str) -> None:
    spot = mount_api.open_place(point.path)
    try:
        there, _ = _mount_of(visitor, spot)
    finally:
        os.close(spot)
    stranger = None if _is_ours(there, point, device_number) else _stranger(there, point)
    if stranger is not None:
        raise _occupied(stranger)


def _take(
    visitor: Visitor,
    piece: Piece,
    device_number: str,
    claimed: set[int],
    placed: Placed,
    manner: Manner,
) -> int:
    """The root of the mount at the point: the one that is there already, or the piece's own."""
    point = piece.point
    spot = _open_spot(point, placed)
    try:
        there, mounts = _mount_of(visitor, spot)
        if there is not None and is_cover(there):
            placed.covers.add(there.device_number)
            below = mounts.get(there.parent)
            if below is not None and below.device_number == there.device_number:
                # Left by whoever died while he took the volume's mount away (below.parking).
                _remove_cover(visitor, spot, there, mounts)
                os.close(spot)
                spot = _open_spot(point, placed)
                there, mounts = _mount_of(visitor, spot)
                below = mounts.get(there.parent) if there is not None else None
            if there and _is_ours(below, point, device_number) and there.parent not in claimed:
                _remove_cover(visitor, spot, there, mounts)
                os.close(spot)
                spot = _open_spot(point, placed)
                there = below
        if there is not None and there.identifier not in claimed:
            if _is_ours(there, point, device_number):
                claimed.add(there.identifier)
                return os.dup(spot)
            stranger = _stranger(there, point)
            if stranger is not None:
                if not manner.undoing:
                    raise _occupied(stranger)
                placed.findings.append(_buried(stranger))
        mount_api.set_attributes(piece.tree, mount_api.attributes_of(point.options))
        if there is None or not is_cover(there) or not _attach_beneath(piece.tree, spot):
            if there is not None and is_cover(there):
                _remove_cover(visitor, spot, there, mounts)
                os.close(spot)
                spot = _open_spot(point, placed)
            mount_api.attach_tree(piece.tree, spot)
    finally:
        os.close(spot)
    placed.attached.append(point)
    root = os.dup(piece.tree)
    claimed.add(visitor.mount_number(root))
    return root


def _attach_beneath(tree: int, cover: int) -> bool:
    try:
        mount_api.attach_beneath(tree, cover)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return False
    return True


def _uncover(visitor: Visitor, point: MountPoint, placed: Placed, manner: Manner) -> None:
    """Take the cover away, and see that nothing but ours comes to sight."""
    try:
        spot = mount_api.open_place(point.path)
    except OSError:
        return
    try:
        there, mounts = _mount_of(visitor, spot)
        if there is not None and is_cover(there):
            placed.covers.add(there.device_number)
            if manner.stays_covered:
                return
            on_top = next(
                (each for each in mounts.values() if each.parent == there.identifier), None
            )
            if on_top is None:
                _remove_cover(visitor, spot, there, mounts)
            os.close(spot)
            spot = mount_api.open_place(point.path)
            there, mounts = _mount_of(visitor, spot)
    finally:
        os.close(spot)
    ours = {
        visitor.mount_number(placed.roots[each.id])
        for each in placed.points
        if each.namespace == point.namespace
    }
    stranger = _stranger(there, point)
    if stranger is None or stranger.identifier in ours:
        return
    if not manner.undoing:
        raise _occupied(stranger)
    if not any(each.found == _buried(stranger).found for each in placed.findings):
        placed.findings.append(_on_top(stranger))


def _remove_cover(visitor: Visitor, spot: int, cover: Mount, mounts: Mapping[int, Mount]) -> None:
    """Detach the cover lazily, never with what is on it: who waits in it walks on when answered."""
    if any(each.parent == cover.identifier for each in mounts.values()):
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
    visitor.dismount_exactly(spot, MNT_DETACH)


def _occupied(mount: Mount) -> InUse:
    return InUse(
        f"{mount.source} ({mount.filesystem}) was mounted at {mount.path} by somebody else while"
        " the volume was away",
        f"umount {mount.path}, and see to what mounts it there (autofs, systemd, cron).",
    )


def _buried(mount: Mount) -> Finding:
    return Finding(
        "mounted meanwhile",
        Verdict.LIMITED,
        f"{mount.source} ({mount.filesystem}) was mounted at {mount.path} by somebody else",
        "The volume is mounted on top of it again, and hides it.",
        "See to what mounts it there (autofs, systemd, cron).",
    )


def _on_top(mount: Mount) -> Finding:
    return Finding(
        "mounted meanwhile",
        Verdict.LIMITED,
        f"{mount.source} ({mount.filesystem}) was mounted at {mount.path} by somebody else, and"
        " hides the volume",
        "Users of the volume have it all the same.",
        f"umount {mount.path}",
    )


def _otherwise(point: MountPoint, own: int, why: str) -> Finding:
    return Finding(
        "mount option",
        Verdict.LIMITED,
        f"{in_words(point, own)} was {point.options}, {point.propagation}, and may be otherwise"
        f" now: {why}",
        "It shows the volume as it did.",
        "findmnt -o TARGET,OPTIONS,PROPAGATION shows it.",
    )


def left_out(point: MountPoint, own: int, why: str) -> Finding:
    """What is said of a point that is not mounted again."""
    return Finding(
        "not mounted again",
        Verdict.LIMITED,
        f"/{point.inside} of the volume at {in_words(point, own)}: {why}",
        "Everything else of the volume is.",
        "Mount it there by hand, where it is still wanted.",
    )


def _set_propagation(piece: Piece, root: int, placed: Placed) -> None:
    point = piece.point
    if piece.group is None:
        mount_api.set_propagation(root, point.propagation)
        return
    mount_api.set_propagation(root, "private")
    try:
        mount_api.join_group(piece.group, root)
    except OSError as error:
        placed.findings.append(
            Finding(
                "propagation",
                Verdict.LIMITED,
                f"{point.path} was {point.propagation}, and is private now: {error.strerror}",
                "Mounts made below it do not reach other namespaces, nor come from there.",
                f"mount --make-shared {point.path}, where it matters.",
            )
        )
