"""Where the file systems in question are mounted, and where on them a path lies.

The kernel prints a path as the root of its mount namespace sees it (for one who reads it from
outside of that namespace), which is how MountPoint.path is written too. Pure: values in, values
out, except for `places_of`, which reads mount tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import field

from holdfast.late_dataclass import dataclass
from holdfast.model.mountpoint import MountPoint
from holdfast.system.mounts.all_namespaces import all_mount_points

DELETED = " (deleted)"
"""What the kernel appends to the path of a file without a name; files may be called so, too."""


@dataclass(frozen=True)
class Places:
    """Every mount of the file systems in question, and the other mounts of the host."""

    wanted: tuple[MountPoint, ...]
    others: tuple[MountPoint, ...] = ()
    by_id: dict[int, MountPoint] = field(init=False)
    other_ids: frozenset[int] = field(init=False)
    devices: frozenset[tuple[int, int]] = field(init=False)
    """Major and minor numbers of the super blocks, as mountinfo, maps and fdinfo have them."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_id", {mount.id: mount for mount in self.wanted})
        object.__setattr__(self, "other_ids", frozenset(mount.id for mount in self.others))
        numbers = (mount.device.split(":") for mount in self.wanted)
        devices = frozenset((int(major), int(minor)) for major, minor in numbers)
        object.__setattr__(self, "devices", devices)

    def of_device(self, device: tuple[int, int], namespace: int) -> MountPoint | None:
        """A mount of that super block: in this namespace if there is one, of its root likewise."""
        text = f"{device[0]}:{device[1]}"
        mounts = [mount for mount in self.wanted if mount.device == text]
        mounts.sort(key=lambda mount: (mount.namespace != namespace, len(mount.inside)))
        return mounts[0] if mounts else None

    def may_hold(self, path: str, namespace: int) -> MountPoint | None:
        """The mount that a path probably goes through; only its text is looked at.

        Mounts may cover each other, and a process may stand in another namespace than its own:
        `is_certain` says whether there is a doubt.
        """
        return _longest(path, self.wanted, namespace)

    def is_certain(self, path: str, mount: MountPoint, namespace: int) -> bool:
        """Whether no other mount can be meant by that path."""
        if mount.namespace != namespace:
            return False
        rivals = (*self.others, *self.wanted)
        return not any(
            rival.id != mount.id
            and rival.namespace == namespace
            and len(rival.path) >= len(mount.path)
            and is_below(path, rival.path)
            for rival in rivals
        )

    def is_likely(self, path: str, mount: MountPoint, namespace: int) -> bool:
        """Whether the path, taken at its word, leads through this mount."""
        best = _longest(path, (*self.others, *self.wanted), namespace)
        return best is not None and best.namespace == namespace and best.path == mount.path


def places_of(mounts: Sequence[MountPoint]) -> Places:
    """The places of the file systems of these mounts: all their mounts in all namespaces.

    Mounts that are given and gone from the tables (dismounted lazily, say) stay among them.
    """
    devices = {mount.device for mount in mounts}
    known = all_mount_points()
    wanted = [mount for mount in known if mount.device in devices]
    ids = {mount.id for mount in wanted}
    wanted += [mount for mount in mounts if mount.id not in ids]
    others = [mount for mount in known if mount.device not in devices]
    return Places(tuple(wanted), tuple(others))


def inside_of(mount: MountPoint, path: str) -> str:
    """The path below the root of the file system, without leading slash, of a path on a mount."""
    if not is_below(path, mount.path):
        return mount.inside
    rest = path[len(mount.path.rstrip("/")) :].strip("/")
    return f"{mount.inside}/{rest}" if mount.inside and rest else mount.inside or rest


def is_below(path: str, folder: str) -> bool:
    """Whether a path is this folder or below it, by name."""
    return folder == "/" or path == folder or path.startswith(folder + "/")


def _longest(path: str, mounts: Iterable[MountPoint], namespace: int) -> MountPoint | None:
    """The mount with the longest fitting path, in this namespace before others, newest last."""
    best: MountPoint | None = None
    best_key = (False, -1)
    for mount in mounts:
        key = (mount.namespace == namespace, len(mount.path))
        if key >= best_key and is_below(path, mount.path):
            best, best_key = mount, key
    return best
