"""Mounts of other file systems that lie on a volume, and where they are parked while it is away."""

from __future__ import annotations

from holdfast.late_dataclass import dataclass
from holdfast.model.mountpoint import MountPoint


@dataclass(frozen=True)
class MountBelow:
    """A mount of another file system, directly on one of the volume's mounts."""

    mount: MountPoint
    under: int
    """The mount (its id) of the volume that it lies on."""


@dataclass(frozen=True)
class ParkedMounts:
    """Those of one restoration, and where they are kept: from before the first one is moved."""

    name: str
    """What the mount table has as the source of a parking place: tells it from everything else."""
    folder: str
    """Where one is mounted, in every mount namespace that has this directory."""
    mounts: tuple[MountBelow, ...]
