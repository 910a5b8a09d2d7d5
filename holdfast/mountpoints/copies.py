"""Detached copies of mounts that are about to be dismounted: what brings them back.

Works inside an expendable child that a Visitor leads; they vanish with it. Invariant: a copy shows
what its mount showed, is private, and has another beside it that keeps the place among the peers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

from holdfast.model.mountpoint import MountPoint
from holdfast.mountpoints.capture import is_there
from holdfast.mountpoints.placing import Manner, Piece, Placed, place
from holdfast.system.mounts import mount_api
from holdfast.system.mounts.mount_table import Mount
from holdfast.system.mounts.visitor import Visitor


def tables(
    visitor: Visitor, points: Sequence[MountPoint], ways: Mapping[int, int]
) -> Iterator[tuple[list[MountPoint], dict[int, Mount]]]:
    """Those of these mounts that are there, and their mount table, namespace by namespace; the
    visitor is in it meanwhile. A table is read once: a stranger's may be long."""
    for namespace in dict.fromkeys(point.namespace for point in points):
        if namespace in ways:
            visitor.enter(ways[namespace])
            table = {each.identifier: each for each in visitor.mounts()}
            theirs = [each for each in points if each.namespace == namespace and each.id in table]
            yield [each for each in theirs if is_there(each, [table[each.id]])], table


def copy_visible(
    visitor: Visitor,
    points: Sequence[MountPoint],
    ways: Mapping[int, int],
    copies: dict[int, Piece],
) -> None:
    """Copy what was not copied yet and is not hidden by another mount of the same file system."""
    missing = [point for point in points if point.id not in copies]
    for there, _ in tables(visitor, missing, ways):
        for point in there:
            try:
                spot = mount_api.open_place(point.path)
            except OSError:
                continue  # somebody has something of his own in the way
            if visitor.mount_number(spot) == point.id:
                copies[point.id] = _copy(point, spot)
            os.close(spot)


def _copy(point: MountPoint, spot: int) -> Piece:
    """A private copy to be mounted again, and one that keeps the place among the peers."""
    if point.propagation == "unbindable":  # open_tree(2) refuses to copy one
        mount_api.set_propagation(spot, "private")
    try:
        group = mount_api.clone_tree(spot) if point.peer_group or point.master_group else None
        tree = mount_api.clone_tree(spot)
    finally:
        if point.propagation == "unbindable":
            mount_api.set_propagation(spot, "unbindable")
    mount_api.set_propagation(tree, "private")
    return Piece(point, tree, group)


def bring_back(
    visitor: Visitor,
    pieces: Sequence[Piece],
    ways: Mapping[int, int],
    own: int,
    *,
    stays_covered: bool,
) -> None:
    """Mount the copies of those that are gone; covers stay above them, or go."""
    gone = []
    for piece in pieces:
        visitor.enter(ways[piece.point.namespace])
        if not is_there(piece.point, visitor.mounts()):
            gone.append(piece)
    if gone:
        placed = Placed(own=own)
        manner = Manner(undoing=True, stays_covered=stays_covered)
        place(visitor, gone, ways, gone[0].point.device, placed, manner)
        for root in placed.roots.values():
            os.close(root)
