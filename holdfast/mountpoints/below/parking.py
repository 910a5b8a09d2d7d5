"""Parking mounts that lie on a volume: its own mount goes out of sight first, with all of them.

    a cover, and a layer    go below the volume's mount: so it lies on what is shared with nobody
    the volume's mount      is moved to the parking place: the path leads to the cover from then on
    what lies on it         is moved beside it, and it is dismounted as any other

Works inside an expendable child that a Visitor leads. Invariants: nobody who comes by path ever
sees the volume without what is mounted on it; the parking place lets in root alone, is private, and
is attached to the namespace's tree: it outlives us. Must never dismount lazily.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from holdfast.model.mount_below import MountBelow, ParkedMounts
from holdfast.model.mountpoint import MountPoint
from holdfast.mountpoints.below.looking import PLACE_TYPE, is_place
from holdfast.mountpoints.covering import Covering
from holdfast.mountpoints.scratch import EMPTY_DIRECTORIES
from holdfast.system.fuse.cover_server import is_cover
from holdfast.system.mounts import mount_api
from holdfast.system.mounts.detached import mount_detached
from holdfast.system.mounts.mount_table import MNT_DETACH
from holdfast.system.mounts.visitor import Visitor

VOLUME, DIRECTORY, FILE = "v", "d", "f"
"""How the names in a parking place begin, which go on with the number of the mount."""

_BRIEF_SECONDS = 0.5
"""A program that works by path uses the file system for moments; it is waited for so long."""
_BRIEF_POLL_SECONDS = 0.0005

_WRONG_KIND = (errno.EINVAL, errno.ENOTDIR, errno.EISDIR)
_OPTIONS = {"mode": "0700", "size": "1m"}


class Parking:
    """Takes mounts of a volume away that others lie on. Made before the visitor's first entry."""

    def __init__(self, visitor: Visitor, parked: ParkedMounts) -> None:
        self._visitor = visitor
        self._parked = parked
        self._below: dict[int, list[MountBelow]] = {}
        for each in parked.mounts:
            self._below.setdefault(each.under, []).append(each)
        own = Path(parked.folder).stat()
        self._own = own.st_dev, own.st_ino

    def concerns(self, point: MountPoint) -> bool:
        """Whether something is parked that lies on it."""
        return point.id in self._below

    def take(
        self, points: Sequence[MountPoint], ways: Mapping[int, int], covering: Covering
    ) -> None:
        """Move these mounts of the volume out of sight, and what lies on them beside them.

        Raises OSError with the path as its filename; some may have been moved then.
        """
        for point in points:
            self._visitor.enter(ways[point.namespace])
            try:
                self._hide(point, covering)
                self._empty(point)
            except OSError as error:
                raise OSError(error.errno, error.strerror, point.path) from error

    def dismount(self, point: MountPoint) -> None:
        """Dismount one that was taken; the visitor is there. A program that uses it for a moment is
        waited for. Raises OSError."""
        place = self._place()
        deadline = time.monotonic() + _BRIEF_SECONDS
        while True:
            try:
                self._visitor.dismount(f"{place}/{VOLUME}{point.id}")
            except OSError as error:
                if error.errno != errno.EBUSY or time.monotonic() > deadline:
                    raise
                time.sleep(_BRIEF_POLL_SECONDS)
            else:
                return

    def _hide(self, point: MountPoint, covering: Covering) -> None:
        place = self._place()
        covering.put_beneath(point)
        spot = mount_api.open_place(point.path)
        try:
            mounts = {each.identifier: each for each in self._visitor.mounts()}
            below = mounts.get(mounts[point.id].parent) if point.id in mounts else None
            if self._visitor.mount_number(spot) != point.id or below is None:
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
            if not is_cover(below):
                raise OSError(errno.EOPNOTSUPP, "its place cannot be covered")
            # What lies on a shared mount cannot be moved away, and the cover may be one.
            layer = covering.put_layer(spot, point)
            try:
                slot = _make(place, f"{VOLUME}{point.id}")
                mount_api.attach_tree(spot, slot)
                os.close(slot)
                # Only now that the volume does not lie on it any more.
                self._visitor.dismount_exactly(layer, MNT_DETACH)
            finally:
                os.close(layer)
            mount_api.set_propagation(spot, "private")
        finally:
            os.close(spot)

    def _empty(self, point: MountPoint) -> None:
        place = self._place()
        for each in self._below[point.id]:
            inner = inside(each, point)
            spot = mount_api.open_place(f"{place}/{VOLUME}{point.id}/{inner}")
            try:
                if self._visitor.mount_number(spot) != each.mount.id:
                    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
                _move(spot, place, each.mount.id)
            finally:
                os.close(spot)

    def _place(self) -> str:
        """The parking place of the namespace that the visitor is in. Raises OSError."""
        there = place_in(self._visitor, self._parked)
        if there is None:
            return self._make_place()
        root = mount_api.open_place(there)
        mount_api.set_propagation(root, "private")  # it may have come from another namespace
        os.close(root)
        return there

    def _make_place(self) -> str:
        for folder in (self._parked.folder, *EMPTY_DIRECTORIES):
            try:
                spot = mount_api.open_place(folder)
            except OSError:
                continue
            try:
                if self._is_free(spot, folder):
                    tree = mount_detached(PLACE_TYPE, _OPTIONS, source=self._parked.name)
                    mount_api.attach_tree(tree, spot)
                    mount_api.set_propagation(tree, "private")
                    os.close(tree)
                    return folder
            finally:
                os.close(spot)
        raise OSError(errno.ENOENT, "its mount namespace has no directory to park mounts in")

    def _is_free(self, spot: int, folder: str) -> bool:
        """Whether this is the directory made for it, or one that hides nothing."""
        if folder == self._parked.folder:
            found = os.fstat(spot)
            return (found.st_dev, found.st_ino) == self._own
        with suppress(OSError):
            return not os.listdir(folder)  # noqa: PTH208 - names, not paths
        return False


def inside(each: MountBelow, point: MountPoint) -> str:
    """Where it lies, from the root of the volume's mount. Pure."""
    return each.mount.path[len(point.path) :].strip("/")


def place_in(visitor: Visitor, parked: ParkedMounts) -> str | None:
    """Where the parking place is in the namespace that the visitor is in; None: there is none."""
    found = (each.path for each in visitor.mounts()
             if is_place(each.source, each.filesystem, parked))  # fmt: skip
    return next(found, None)


def _move(spot: int, place: str, number: int) -> None:
    """Move a mount into the parking place: onto a directory, or onto a file."""
    for kind in (DIRECTORY, FILE):
        slot = _make(place, f"{kind}{number}")
        try:
            mount_api.attach_tree(spot, slot)
        except OSError as error:
            if kind == FILE or error.errno not in _WRONG_KIND:
                raise
        else:
            return
        finally:
            os.close(slot)


def _make(place: str, name: str) -> int:
    """An O_PATH descriptor of a directory (or file) of the parking place; caller closes."""
    root = mount_api.open_place(place)
    try:
        with suppress(FileExistsError):
            if name.startswith(FILE):
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                os.close(os.open(name, flags, 0o600, dir_fd=root))
            else:
                os.mkdir(name, 0o700, dir_fd=root)
        return mount_api.open_place(name, root)
    finally:
        os.close(root)
