"""Covering a volume's places, so that nobody sees the bare directories while it is away.

Works inside an expendable child that a Visitor leads. Invariant: a cover is put below a mount that
is just about to go (Linux 6.5), so the path leads to the one or to the other at every instant; on
kernels that cannot, it comes a moment after. Must never cover what is not about to be dismounted:
from below a mount that stays nothing can be taken away.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

from holdfast.model.mountpoint import MountPoint
from holdfast.mountpoints.capture import foreign_namespaces
from holdfast.mountpoints.kept_waiting import free_if_kept_waiting
from holdfast.mountpoints.scratch import scratch_directory
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.fuse.cover import Covers
from holdfast.system.fuse.cover_server import is_cover
from holdfast.system.mounts import mount_api
from holdfast.system.mounts.mount_table import Mount
from holdfast.system.mounts.visitor import Visitor, ways_to

_WRONG_KIND = (errno.EINVAL, errno.ENOTDIR, errno.EISDIR)


class Covering:
    """Puts covers where mounts of a volume are. Made before the first entry of the visitor."""

    def __init__(
        self, visitor: Visitor, covers: Covers, points: Sequence[MountPoint], layers: int = 0
    ) -> None:
        """`layers`: how many more are wanted for `put_layer`."""
        self._visitor = visitor
        self._name = covers.server.name
        self._ids: Collection[int] = {point.id for point in points}
        visitor.retire()
        count = sum(map(self.concerns, points))
        self._trees = [
            _copies(covers.directory, scratch_directory(), count + layers),
            _copies(covers.file, os.path.realpath(__file__), count),
        ]

    def concerns(self, point: MountPoint) -> bool:
        """Whether a bare directory (or file) would come to sight: not on the volume itself."""
        return point.parent not in self._ids

    def put_beneath(self, point: MountPoint) -> None:
        """Cover the place below its mount, where the kernel can; the visitor is there. Idempotent.

        Raises OSError when the place is not there.
        """
        spot = mount_api.open_place(point.path)
        try:
            mounts = {each.identifier: each for each in self._visitor.mounts()}
            there = mounts.get(self._visitor.mount_number(spot))
            below = mounts.get(there.parent) if there is not None else None
            if there is None or is_cover(there) or (below is not None and self._is_own(below)):
                return  # propagation has put it there, or it went meanwhile
            self._attach(spot, point, beneath=True)
        finally:
            os.close(spot)

    def _is_own(self, mount: Mount) -> bool:
        """One of an earlier restoration that was killed in between may lie below for ever."""
        return is_cover(mount) and mount.source == self._name

    def put_layer(self, spot: int, point: MountPoint) -> int:
        """Put one more, for directories, right below the mount whose root `spot` is open at; it is
        shared with nobody, so that this mount can be moved. Its root; caller closes.

        Raises OSError.
        """
        if not self._trees[0]:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        layer = self._trees[0][-1]
        mount_api.set_attributes(layer, mount_api.attributes_of(point.options))
        mount_api.attach_beneath(layer, spot)
        self._trees[0].pop()
        mount_api.set_propagation(layer, "private")
        return layer

    def put_on_top(self, point: MountPoint) -> None:
        """Cover the bare place, unless it is covered already; the visitor is there."""
        with suppress(OSError):
            spot = mount_api.open_place(point.path)
            try:
                number = self._visitor.mount_number(spot)
                there = next((e for e in self._visitor.mounts() if e.identifier == number), None)
                if there is None or not is_cover(there):
                    self._attach(spot, point, beneath=False)
            finally:
                os.close(spot)

    def _attach(self, spot: int, point: MountPoint, *, beneath: bool) -> None:
        """The one of the right kind; the kernel refuses the other. None fits: it stays bare.

        It has the point's options, for what is mounted where somebody copies it.
        """
        for trees in filter(None, self._trees):
            try:
                mount_api.set_attributes(trees[-1], mount_api.attributes_of(point.options))
                (mount_api.attach_beneath if beneath else mount_api.attach_tree)(trees[-1], spot)
            except OSError as error:
                if error.errno not in _WRONG_KIND:
                    raise
            else:
                os.close(trees.pop())
                return


def _copies(root: int, place: str, count: int) -> list[int]:
    """As many copies of a cover as are needed, made before we leave our namespace.

    The cover itself stays mounted nowhere: it is copied again for mounts that appear meanwhile.
    Where the kernel copies only what is mounted (before Linux 6.15), it is mounted once, in this
    child's namespace, and goes with it: there are none for those who come later.
    """
    with suppress(OSError):
        return [mount_api.clone_tree(root) for _ in range(count)]
    with suppress(OSError):
        spot = mount_api.open_place(place)
        try:
            mount_api.attach_tree(root, spot)
        finally:
            os.close(spot)
        return [mount_api.clone_tree(root) for _ in range(count)]
    return []


def cover_dead(points: Sequence[MountPoint], covers: Covers, timeout_seconds: float) -> None:
    """Cover all places of a file system that is going to be dismounted whatever it takes.

    Raises DeadlinePassed; a place that cannot be covered stays as it is.
    """
    with ways_to(points) as ways:
        in_expendable_child(
            lambda: _cover_all(points, ways, covers), timeout_seconds, points[-1].path
        )


def _cover_all(points: Sequence[MountPoint], ways: Mapping[int, int], covers: Covers) -> None:
    free_if_kept_waiting(ways)
    visitor = Visitor()
    covering = Covering(visitor, covers, points)
    for point in points:
        if point.namespace in ways and covering.concerns(point):
            visitor.enter(ways[point.namespace])
            with suppress(OSError):
                covering.put_beneath(point)


def can_be_covered(points: Sequence[MountPoint]) -> bool:
    """Whether nobody sees the directories below these mounts while they are away."""
    return mount_api.can_attach_beneath() and not foreign_namespaces(points)
