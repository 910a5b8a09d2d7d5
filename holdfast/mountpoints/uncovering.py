"""Taking covers away, when what belongs at those places is mounted below them.

Until then whoever comes by path waits: so handles and locks can be given back to those who had
them before anybody else has a chance. Whatever somebody who owns a mount namespace does there costs
him alone: each namespace of another user namespace has a child and a moment of its own. Must never
take away what is not a cover.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial

from holdfast.errors import HoldfastError
from holdfast.model.mountpoint import MountPoint
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.children.expendable_batch import ask_each
from holdfast.system.fuse.cover_server import FILE_SYSTEM as COVER_TYPE
from holdfast.system.mounts import mount_api
from holdfast.system.mounts.all_namespaces import all_mount_points
from holdfast.system.mounts.mount_table import MNT_DETACH
from holdfast.system.mounts.visitor import Visitor, has_foreign_owner, ways_to

_STRANGER_SECONDS, _STRANGERS_SECONDS = 0.25, 2.0
"""For one namespace whose owner may let us hang in it, and for all of them: others wait."""


def uncover(device_number: str, points: Collection[MountPoint] | None = None) -> None:
    """Take a cover away wherever it is still in sight, also where propagation put it; `points`: at
    these only. Blocks for some seconds where a namespace hangs."""
    places = None if points is None else {(each.namespace, each.path) for each in points}
    left = [
        each
        for each in all_mount_points(device_number)
        if each.filesystem == COVER_TYPE
        and (places is None or (each.namespace, each.path) in places)
    ]
    if left:
        visit_each(left, _dismount_cover, "a cover")


def visit_each(
    points: Sequence[MountPoint], act: Callable[[Visitor, MountPoint], None], doing: str
) -> None:
    """Do that at each of these in expendable children; where it cannot be done, nothing is."""
    with ways_to(points) as ways, suppress(HoldfastError):
        foreign = [number for number, way in ways.items() if has_foreign_owner(way)]
        there = partial(_act_in, points, ways, act)
        own = [number for number in ways if number not in foreign]
        try:
            in_expendable_child(partial(there, own), doing=doing)
        finally:
            ask_each(
                there,
                [[number] for number in foreign],
                item_seconds=_STRANGER_SECONDS,
                budget_seconds=_STRANGERS_SECONDS,
            )


def _act_in(
    points: Sequence[MountPoint],
    ways: Mapping[int, int],
    act: Callable[[Visitor, MountPoint], None],
    namespaces: Collection[int],
) -> None:
    visitor = Visitor()
    for each in points:
        if each.namespace in namespaces:
            with suppress(OSError):
                visitor.enter(ways[each.namespace])
                act(visitor, each)


def _dismount_cover(visitor: Visitor, cover: MountPoint) -> None:
    """Dismount a cover where it is the topmost: what somebody has mounted on it stays."""
    spot = mount_api.open_place(cover.path)
    try:
        if visitor.mount_number(spot) == cover.id:
            visitor.dismount_exactly(spot, MNT_DETACH)
    finally:
        os.close(spot)
