"""Where a file system is mounted: once or many times, in one mount namespace or in several."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable

from holdfast.late_dataclass import dataclass

_PATH_BYTES = 4096
"""PATH_MAX of <linux/limits.h>, with the zero at the end."""


@dataclass(frozen=True)
class MountPoint:
    """One mount of a volume's file system. Field names and meaning: proc_pid_mountinfo(5)."""

    id: int
    """Unique among all mounts of the host while it exists."""
    namespace: int
    """Inode number of the mount namespace (/proc/PID/ns/mnt)."""
    witness_pid: int
    """A process in that namespace: the way in."""
    path: str
    """Mount point, as that namespace's root sees it."""
    inside: str
    """Which directory (or file) of the file system is mounted here; empty: its root."""
    options: str
    """Per-mount options (ro, nosuid, noatime …)."""
    super_options: str
    filesystem: str
    source: str
    device: str
    """MAJOR:MINOR of the super block. The kernel gives it to another one when this is gone."""
    propagation: str = "private"
    """shared | slave | shared-slave | private | unbindable."""
    peer_group: int = 0
    master_group: int = 0
    nested: bool = False
    """Another mount lies below it."""
    parent: int = 0
    """The mount (its id) that this one is mounted on."""
    disk_sequence: int = 0
    """Of the block device it is on: tells a number that was used again. 0: not known, or none."""

    @property
    def shows_deleted(self) -> bool:
        """Whether it shows a file or directory that has no name any more (deleted, or replaced by
        rename): it cannot be mounted anew. The kernel says so with two slashes, as in no path."""
        return self.inside.endswith("//deleted")

    @property
    def is_within_reach(self) -> bool:
        """Whether there is a system call that takes its path, and what it shows. Anybody can make
        a longer one, in a mount namespace of his own, directory by directory."""
        return all(len(os.fsencode(each)) < _PATH_BYTES for each in (self.path, self.inside))

    def is_same_mount(self, other: MountPoint) -> bool:
        """Whether both are one mount, seen at different times; its options may have changed."""
        mine = self.id, self.namespace, self.path, self.device
        return mine == (other.id, other.namespace, other.path, other.device)

    def is_on_same_as(self, other: MountPoint) -> bool:
        """Whether both show the same super block, seen at different times of one boot."""
        numbers = {self.disk_sequence, other.disk_sequence} - {0}
        mine = self.device, self.filesystem
        return mine == (other.device, other.filesystem) and len(numbers) < 2


def crowd_in_words(points: Iterable[MountPoint]) -> str:
    """In whose namespace most of these mounts are: people need to know whom to ask. Empty: there
    are none."""
    counts = Counter(point.witness_pid for point in points).most_common(1)
    return "".join(
        f"; {count} of its mounts are in the namespace of process {pid}" for pid, count in counts
    )
