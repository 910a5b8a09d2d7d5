"""Which options of a file system mean something for another type of file system.

Pure: words in, words out. Per-mount options (nosuid, noatime …) are not its business: each mount
point keeps its own. Must never drop an option silently.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.model.finding import Finding, Verdict
from holdfast.model.mountpoint import MountPoint

_SHOWN_ONLY = frozenset({"rw", "seclabel", "emergency_ro", "shutdown", "attr2", "noquota"})
"""What the kernel shows and mount(2) does not take, or takes with a complaint."""

_GENERIC = frozenset({"sync", "dirsync", "lazytime", "mand", "iversion"})
"""Flags of any super block: <linux/fs.h>, SB_SYNCHRONOUS and its neighbours."""

_GENERIC_NAMES = frozenset({"context", "fscontext", "defcontext", "rootcontext"})
"""SELinux takes these for any type (mount(8))."""

_ALIKE: dict[str, frozenset[str]] = {
    "discard": frozenset({"ext4", "xfs", "btrfs"}),
    "nodiscard": frozenset({"ext4", "xfs", "btrfs"}),
    "acl": frozenset({"ext4", "btrfs"}),
    "noacl": frozenset({"ext4", "btrfs"}),
    "usrquota": frozenset({"ext4", "xfs"}),
    "grpquota": frozenset({"ext4", "xfs"}),
    "prjquota": frozenset({"ext4", "xfs"}),
}
"""Same word, same meaning: ext4(5), xfs(5), btrfs(5)."""

_PER_MOUNT_OF_BTRFS = frozenset({"subvol", "subvolid"})
"""btrfs shows per mount what it calls a super option; the mount point's directory says it."""


def carry_options(super_options: str, old_type: str, new_type: str) -> tuple[str, list[Finding]]:
    """The super options that a new file system is to be mounted with, and what was dropped."""
    kept: list[str] = []
    dropped: list[str] = []
    for word in filter(None, super_options.split(",")):
        name = word.partition("=")[0]
        if word in _SHOWN_ONLY or (old_type == "btrfs" and name in _PER_MOUNT_OF_BTRFS):
            continue
        generic = word in _GENERIC or name in _GENERIC_NAMES or word == "ro"
        alike = {old_type, new_type} <= _ALIKE.get(word, frozenset())
        (kept if generic or alike or old_type == new_type else dropped).append(word)
    findings = [
        Finding(
            "mount options",
            Verdict.LIMITED,
            f"{', '.join(dropped)}: options of {old_type} that {new_type} does not know",
            f"The new {new_type} is mounted without them.",
        )
    ]
    return ",".join(kept), findings if dropped else []


def wanted_super_options(points: Sequence[MountPoint]) -> str:
    """The super options as they were asked for: `ro` only when every mount is read-only as well.

    A file system that turned read-only by itself has mounts that are still `rw`.
    """
    if not points:
        return ""
    words = points[-1].super_options.split(",")
    if not all("ro" in point.options.split(",") for point in points):
        words = [word for word in words if word != "ro"]
    return ",".join(words)
