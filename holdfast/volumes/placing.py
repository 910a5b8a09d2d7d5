"""Putting detached mounts where others were: the part of a remount that every namespace gets.

Works inside an expendable child that a Visitor leads. Invariant: where the kernel's own propagation
has put the right mount already, that one is taken instead of a second one. The pieces join their
peers only when all are in place: until then what is mounted below one must not reach the others.
Afterwards each place has the per-mount options and the propagation that its MountPoint says.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from holdfast.model.finding import Finding, Verdict
from holdfast.model.mountpoint import MountPoint
from holdfast.system import mount_api
from holdfast.system.visitor import Visitor


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
    attached: list[MountPoint] = field(default_factory=list)
    """Points where we mounted something ourselves, in that order."""
    findings: list[Finding] = field(default_factory=list)


def place(
    visitor: Visitor, pieces: Sequence[Piece], ways: Mapping[int, int], device: str, placed: Placed
) -> None:
    """Mount every piece at its point, in this order, and note in `placed` what was done.

    `device` is the MAJOR:MINOR of the trees. Points in namespaces without a way in are left out.
    Raises OSError, with the path as its filename.
    """
    claimed: set[int] = set()
    for piece in pieces:
        point = piece.point
        if point.namespace not in ways:
            continue
        try:
            visitor.enter(ways[point.namespace])
            root = _take(visitor, piece, device, claimed, placed)
        except OSError as error:
            raise OSError(error.errno, error.strerror, point.path) from error
        placed.roots[point.id] = root
    for piece in pieces:
        root = placed.roots.get(piece.point.id, -1)
        if root < 0:
            continue
        visitor.enter(ways[piece.point.namespace])
        mount_api.set_attributes(root, mount_api.attributes_of(piece.point.options))
        _set_propagation(piece, root, placed)


def take_back(visitor: Visitor, ways: Mapping[int, int], placed: Placed) -> None:
    """Dismount what `place` mounted; what refuses is detached lazily: nobody has seen it yet."""
    for root in placed.roots.values():
        os.close(root)
    placed.roots.clear()
    for point in reversed(placed.attached):
        visitor.enter(ways[point.namespace])
        try:
            visitor.dismount(point.path)
        except OSError:
            with suppress(OSError):
                visitor.dismount(point.path, MNT_DETACH)
    placed.attached.clear()


MNT_FORCE, MNT_DETACH = 1, 2
"""umount2(2), <linux/fs.h>."""


def _take(visitor: Visitor, piece: Piece, device: str, claimed: set[int], placed: Placed) -> int:
    """The root of the mount at the point: the one that is there already, or the piece's own."""
    point = piece.point
    spot = mount_api.open_place(point.path)
    number = visitor.mount_number(spot)
    there = next((each for each in visitor.mounts() if each.identifier == number), None)
    if (
        there is not None
        and number not in claimed
        and there.path == point.path
        and there.device_number == device
        and there.root.lstrip("/") == point.inside
    ):
        claimed.add(number)
        return spot
    try:
        mount_api.attach_tree(piece.tree, spot)
    finally:
        os.close(spot)
    placed.attached.append(point)
    root = mount_api.open_place(point.path)
    claimed.add(visitor.mount_number(root))
    return root


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
