"""Putting parked mounts back on what is mounted where the volume was; clearing their place away.

Invariants: done while covers keep everybody out; what cannot be put back stays parked, mounted and
in use, and a finding says where; nothing is walked but the very file system of the volume, through
no link. Idempotent: what is in its place is left there. Must never be called before the handles of
users are where they belong: a file that lies below such a mount could not be opened then.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from holdfast.model.finding import Finding, Verdict
from holdfast.model.mount_below import MountBelow, ParkedMounts
from holdfast.model.mountpoint import MountPoint
from holdfast.mountpoints.below.looking import is_place, mend
from holdfast.mountpoints.below.parking import FILE, VOLUME, inside
from holdfast.mountpoints.whereabouts import in_words, own_namespace
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.mounts import mount_api
from holdfast.system.mounts.all_namespaces import as_mount_point
from holdfast.system.mounts.mount_table import MNT_DETACH, Mount
from holdfast.system.mounts.visitor import Visitor, ways_to

_SECONDS = 30.0
"""As long as a mount may take: nothing is read but directories on the way."""


def put_back(
    parked: ParkedMounts, points: Sequence[MountPoint], roots: Mapping[int, int]
) -> list[Finding]:
    """Put each on the mount that replaces the one that it lay on; what is to be said of it.

    `roots`: as `remount` gives them. Raises DeadlinePassed and the like; what was not put back then
    is parked still.
    """
    with ways_to([each.mount for each in parked.mounts]) as ways:
        findings = in_expendable_child(
            lambda: _put_all_back(parked, points, roots, ways), _SECONDS, "mounts below the volume"
        )
    with suppress(OSError):
        Path(parked.folder).rmdir()
    return findings


def _put_all_back(
    parked: ParkedMounts,
    points: Sequence[MountPoint],
    roots: Mapping[int, int],
    ways: Mapping[int, int],
) -> list[Finding]:
    """In the child."""
    own, visitor = own_namespace(), Visitor()
    by_number = {point.id: point for point in points}
    findings = []
    for namespace in dict.fromkeys(each.mount.namespace for each in parked.mounts):
        if namespace not in ways:
            continue  # it has ended, and its mounts with it
        visitor.enter(ways[namespace])
        returning = _Returning(visitor, parked, own)
        for under in dict.fromkeys(each.under for each in parked.mounts):
            theirs = [each for each in parked.mounts
                      if each.under == under and each.mount.namespace == namespace]  # fmt: skip
            if theirs:
                findings += returning.onto(by_number.get(under), roots.get(under), theirs)
        returning.clear()
    return findings


class _Returning:
    """In one mount namespace, where the visitor is."""

    def __init__(self, visitor: Visitor, parked: ParkedMounts, own: int) -> None:
        self._visitor = visitor
        self._parked = parked
        self._own = own

    def onto(
        self, point: MountPoint | None, root: int | None, theirs: Sequence[MountBelow]
    ) -> list[Finding]:
        """Put those of them that are parked onto the mount whose root this is."""
        table = self._table()
        waiting = [each for each in theirs if self._is_parked(each, table)]
        if not waiting:
            return []
        mine = None if root is None else table.get(self._visitor.mount_number(root))
        if point is None or root is None or mine is None:
            return [self._stays(each, table, "the volume is not mounted there") for each in waiting]
        # What is mounted on a shared mount would appear on all its peers, which have their own.
        has_group = any(tag.startswith(("shared:", "master:")) for tag in mine.tags)
        group = mount_api.clone_tree(root) if has_group else None
        mount_api.set_propagation(root, "private")
        findings = []
        try:
            for each in waiting:
                findings += self._move(each, point, root, table)
        finally:
            if group is not None:
                mount_api.join_group(group, root)
                os.close(group)
            elif "unbindable" in mine.tags:
                mount_api.set_propagation(root, "unbindable")
        return findings

    def _move(
        self, each: MountBelow, point: MountPoint, root: int, table: Mapping[int, Mount]
    ) -> list[Finding]:
        now = table[each.mount.id]
        try:
            self._make_movable(now, table)
            spot = mount_api.open_place(now.path)
            try:
                if self._visitor.mount_number(spot) != each.mount.id:
                    raise OSError(errno.EBUSY, "something is mounted over it")
                kind = self._kind(now, table)
                target, made = _target(self._visitor, root, inside(each, point), kind)
                try:
                    mount_api.attach_tree(spot, target)
                finally:
                    os.close(target)
            finally:
                os.close(spot)
        except OSError as error:
            return [self._stays(each, table, error.strerror or str(error))]
        return [_about_made(each, self._own)] if made else []

    def _make_movable(self, now: Mount, table: Mapping[int, Mount]) -> None:
        """One that still lies on the volume's mount, which may be shared as whoever died left it:
        what lies on a shared mount cannot be moved away."""
        if not self._is_place(table[now.parent]):
            under = mount_api.open_place(table[now.parent].path)
            mount_api.set_propagation(under, "private")
            os.close(under)

    def _kind(self, now: Mount, table: Mapping[int, Mount]) -> str:
        """Whether it lies on a directory or a file, which nobody asks its own storage; empty: not
        known, as it was not parked yet when whoever did that died."""
        if not self._is_place(table[now.parent]):
            return ""
        return os.path.basename(now.path)[:1]  # noqa: PTH119 - text

    def clear(self) -> None:
        """Take the parking place away, with what is left there of the volume: a mount of it that
        was busy, and has been replaced."""
        table = self._table()
        place = next((each for each in table.values() if self._is_place(each)), None)
        if place is None:
            return
        bearing = {each.parent for each in table.values()}
        left = False
        for each in table.values():
            if each.parent != place.identifier:
                continue
            name = os.path.basename(each.path)  # noqa: PTH119 - text
            if each.identifier in bearing or not name.startswith(VOLUME):
                left = True
                continue
            try:
                self._visitor.dismount(each.path)
            except OSError:
                self._visitor.dismount(each.path, MNT_DETACH)
        if not left:
            with suppress(OSError):
                self._visitor.dismount(place.path)

    def _table(self) -> dict[int, Mount]:
        return {each.identifier: each for each in self._visitor.mounts()}

    def _is_place(self, mount: Mount) -> bool:
        return is_place(mount.source, mount.filesystem, self._parked)

    def _is_parked(self, each: MountBelow, table: Mapping[int, Mount]) -> bool:
        """Whether it is in the parking place, or on the mount of the volume that is there."""
        now = table.get(each.mount.id)
        if now is None or now.device_number != each.mount.device:
            return False  # somebody has dismounted it
        above = table.get(now.parent)
        if above is None or self._is_place(above):
            return above is not None
        return above.parent in table and self._is_place(table[above.parent])

    def _stays(self, each: MountBelow, table: Mapping[int, Mount], why: str) -> Finding:
        mount = each.mount
        now = as_mount_point(table[mount.id], mount.witness_pid, mount.namespace)
        return Finding(
            "nested mount",
            Verdict.LIMITED,
            f"{mount.source} ({mount.filesystem}) could not be put back at"
            f" {in_words(mount, self._own)}: {why}",
            "It is kept where it was parked, and who uses it goes on.",
            mend(each, now, self._own),
        )


def _target(visitor: Visitor, root: int, inner: str, kind: str) -> tuple[int, bool]:
    """An O_PATH descriptor of where it belongs, and whether that had to be made; caller closes.

    Raises OSError: where something else has that name by now, or is mounted there.
    """
    mine = visitor.mount_number(root)
    made = False
    spot = os.dup(root)
    try:
        names = inner.split("/")
        for place, name in enumerate(names):
            is_file = kind == FILE and place == len(names) - 1
            try:
                below = mount_api.open_place(name, spot)
            except FileNotFoundError:
                _make(spot, name, is_file=is_file)
                made = True
                below = mount_api.open_place(name, spot)
            os.close(spot)
            spot = below
            if visitor.mount_number(spot) != mine:
                raise OSError(errno.EBUSY, "something else is mounted there")
            if kind and stat.S_ISDIR(os.fstat(spot).st_mode) == is_file:
                raise OSError(errno.ENOTDIR, "something else has its name there")
    except OSError as error:
        os.close(spot)
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "a symbolic link has its name there") from error
        raise
    return spot, made


def _make(directory: int, name: str, *, is_file: bool) -> None:
    """In the new contents, for something to be mounted on; nobody sees what it is like."""
    if is_file:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(name, flags, 0o600, dir_fd=directory))
    else:
        os.mkdir(name, 0o755, dir_fd=directory)


def _about_made(each: MountBelow, own: int) -> Finding:
    return Finding(
        "nested mount",
        Verdict.LIMITED,
        f"{in_words(each.mount, own)} was missing in the new contents",
        f"It was made, and {each.mount.source} ({each.mount.filesystem}) is mounted there again.",
    )
