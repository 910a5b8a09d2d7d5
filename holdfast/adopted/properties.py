"""Everything that is needed to have a mount again exactly as it is: capture of its properties.

Reads /proc, /sys and fstab; asks the file system itself only in expendable children, so a dead one
costs a few seconds and leaves the values unknown. Must never change anything that others can see.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from holdfast.adopted.source import identity_of, source_of
from holdfast.errors import HoldfastError
from holdfast.model.mountpoint import MountPoint
from holdfast.model.volume import Adoption, MountProperties
from holdfast.mountpoints.options import wanted_super_options
from holdfast.mountpoints.surplus.recording import recordable
from holdfast.system.boot import boot_id
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.mounts.mount_table import MNT_DETACH, fstab_line, is_under
from holdfast.system.mounts.visitor import Visitor
from holdfast.system.storage.block import swap_paths

_ANSWER_SECONDS = 5.0

NETWORK_TYPES = frozenset({
    "nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "afs", "gfs2", "ocfs2", "lustre", "glusterfs",
    "fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.rclone", "fuse.ceph", "fuse.cephfs",
    "fuse.davfs", "fuse.curlftpfs",
})  # fmt: skip
"""File systems whose bytes are on other hosts."""

_NETWORK_DEVICES = ("/dev/nbd", "/dev/rbd", "/dev/drbd")


def primary(points: Sequence[MountPoint], path: str) -> MountPoint:
    """The mount that a volume is called by: at this path, in our own mount namespace."""
    own = os.getpid()
    return next(
        (each for each in points if each.path == path and each.witness_pid == own), points[-1]
    )


def properties(points: Sequence[MountPoint], path: str) -> tuple[MountProperties, Adoption]:
    """Every property of the file system mounted at this path of our own mount namespace.

    `points` as `capture` returns them. Blocks some seconds when the storage hangs; what it does
    not answer is left at its default.
    """
    point = primary(points, path)
    source, loop_options = source_of(point)
    identity = identity_of(point.source) if point.source.startswith("/dev/") else None
    root = _status(path)
    below = _status_below(path)
    fstab = fstab_line(path)
    mount = MountProperties(
        path=path,
        filesystem=point.filesystem,
        options=point.options,
        label=identity.label if identity else "",
        uuid=identity.uuid if identity else "",
        owner_uid=root[0] if root else 0,
        owner_gid=root[1] if root else 0,
        mode=root[2] if root else 0o755,
        fstab=fstab,
    )
    adoption = Adoption(
        source=source,
        super_options=wanted_super_options(points),
        needs_network=needs_network(point, fstab),
        swap_files=tuple(
            file for file in swap_paths() if any(is_under(file, each.path) for each in points)
        ),
        below_uid=below[0] if below else None,
        below_gid=below[1] if below else None,
        below_mode=below[2] if below else None,
        loop_options=loop_options,
        points=recordable(points),
        boot_id=boot_id(),
    )
    return mount, adoption


def needs_network(point: MountPoint, fstab: str) -> bool:
    """Whether it can only be mounted while the network is up."""
    fields = fstab.split()
    told = len(fields) > 3 and "_netdev" in fields[3].split(",")
    return told or point.filesystem in NETWORK_TYPES or point.source.startswith(_NETWORK_DEVICES)


def _status(path: str) -> tuple[int, int, int] | None:
    def ask() -> tuple[int, int, int]:
        found = os.stat(path)  # noqa: PTH116 - a plain system call, in a child
        return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)

    try:
        return in_expendable_child(ask, _ANSWER_SECONDS, path)
    except (HoldfastError, OSError):
        return None


def _status_below(path: str) -> tuple[int, int, int] | None:
    """The directory that the mount covers: seen in a namespace where it is taken away."""

    def ask() -> tuple[int, int, int]:
        visitor = Visitor()
        visitor.retire()
        visitor.dismount(path, MNT_DETACH)
        found = os.stat(path)  # noqa: PTH116 - a plain system call, in a child
        return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)

    try:
        return in_expendable_child(ask, _ANSWER_SECONDS, path)
    except (HoldfastError, OSError):
        return None
