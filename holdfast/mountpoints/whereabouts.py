"""Mount points in words: the path, whose view of the host it is, the command that dismounts it.

Invariant: a process is named only for another mount namespace than the reader's, so it is one that
lives there, never a command of ours that has ended by the time somebody reads of it.
"""

from __future__ import annotations

import os

from holdfast.model.mountpoint import MountPoint
from holdfast.system.mounts.namespace import mount_namespace

_MOST_SHOWN = 300


def own_namespace() -> int:
    """The number of the mount namespace that this process is in."""
    return mount_namespace(os.getpid())


def in_words(point: MountPoint, own: int | None = None) -> str:
    """The place of a mount, and whose view that is. `own`: the reader's namespace, when this
    process has left it."""
    path = shown(point.path)
    if point.namespace == (own_namespace() if own is None else own):
        return path
    return f"{path} in the mount namespace of process {point.witness_pid}"


def shown(path: str) -> str:
    """A path for people, who cannot read one of a hundred directories."""
    return path if len(path) <= _MOST_SHOWN else f"{path[:_MOST_SHOWN]}…"


def umount_command(point: MountPoint, own: int | None = None) -> str:
    """What a reader in `own` types to dismount it."""
    if point.namespace == (own_namespace() if own is None else own):
        return f"umount {point.path}"
    return f"nsenter --mount --target {point.witness_pid} umount {point.path}"
