"""File systems: making, recognising, growing and checking ext4, xfs and btrfs.

One entry per kind in KINDS; nothing else in Holdfast knows a kind by name. Every function runs a
command of the file system's own tools. Must never make a file system on a device that the caller
did not check to be free.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from holdfast.errors import CommandFailed, InvalidOption
from holdfast.late_dataclass import dataclass
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.children.run import run
from holdfast.system.mounts.mount_table import MNT_DETACH, is_under
from holdfast.system.mounts.visitor import Visitor
from holdfast.system.processes.capability import CAP_SYS_RESOURCE, has_capability

_MAKE_SECONDS = 300.0
_GRACE_SECONDS = 5.0
"""By which the process that runs a command outlives its deadline."""
_PATIENCE_SECONDS, _PAUSE_SECONDS = 6.0, 0.1
"""mkfs.btrfs looks at every mounted loop device that it sees, and fails when one goes just then."""
_BLOCK_DEVICES = "/sys/block"
"""Where libblkid finds all of them."""
_NEEDED = ("/", "/dev", "/proc", "/sys", "/usr/lib", "/lib", "/lib64", "/bin", "/sbin", "/etc")
_GROW_SECONDS = 600.0
_CHECK_SECONDS = 3600.0
_PROBE_SECONDS = 20.0
_NOTHING_FOUND = 2  # blkid(8)
_AMBIVALENT = 8
_CORRECTED = 1  # e2fsck(8): errors were corrected
_ESCAPE = re.compile(rb"\\x([0-9a-fA-F]{2})")


@dataclass(frozen=True)
class FileSystemKind:
    """What differs between the file systems."""

    name: str
    minimum_bytes: int
    """Smallest device that mkfs accepts with default options."""
    label_bytes: int
    """Longest label."""
    tool_names: tuple[str, ...]
    """Programs that must be installed."""
    make: Callable[[str, str, str], list[str]]
    """(device, label, uuid) → command; overwrites what is there.

    With blocks and sectors of 4096 bytes also on a device of smaller ones, so that it can be
    attached with larger ones; what applications may write directly is decided by the device."""
    grow: Callable[[str, str], list[str]]
    """(device, mount path) → command that fills the device, while mounted."""
    check: Callable[[str], list[str]]
    """(device) → command that only reads, for an unmounted device."""
    grow_unmounted: Callable[[str], list[list[str]]] | None = None
    """(device) → commands that fill the device while it is not mounted; None: cannot."""
    grow_capability: int | None = None
    """Capability that growing while mounted needs beyond CAP_SYS_ADMIN."""
    minimum_grown_bytes: int = 0
    """Smallest device that it can be grown to."""


KINDS: dict[str, FileSystemKind] = {
    "ext4": FileSystemKind(
        name="ext4",
        minimum_bytes=16 << 20,
        label_bytes=16,
        tool_names=("mkfs.ext4", "resize2fs", "e2fsck"),
        make=lambda device, label, uuid: [
            *("mkfs.ext4", "-q", "-F", "-b", "4096", "-L", label, "-U", uuid, device)
        ],
        grow=lambda device, path: ["resize2fs", device],
        check=lambda device: ["e2fsck", "-f", "-n", device],
        grow_unmounted=lambda device: [["e2fsck", "-f", "-p", device], ["resize2fs", device]],
        grow_capability=CAP_SYS_RESOURCE,  # ext4_resize_begin() in the kernel
    ),
    "xfs": FileSystemKind(
        name="xfs",
        minimum_bytes=300 << 20,
        label_bytes=12,
        tool_names=("mkfs.xfs", "xfs_growfs", "xfs_repair"),
        make=lambda device, label, uuid: [
            *("mkfs.xfs", "-q", "-f", "-s", "size=4096", "-L", label, "-m", f"uuid={uuid}", device)
        ],
        grow=lambda device, path: ["xfs_growfs", "-d", path],
        check=lambda device: ["xfs_repair", "-n", device],
    ),
    "btrfs": FileSystemKind(
        name="btrfs",
        minimum_bytes=109 << 20,
        label_bytes=255,
        tool_names=("mkfs.btrfs", "btrfs"),
        make=lambda device, label, uuid: [
            *("mkfs.btrfs", "-q", "-f", "-L", label, "-U", uuid, device)
        ],
        grow=lambda device, path: ["btrfs", "filesystem", "resize", "max", path],
        check=lambda device: ["btrfs", "check", "--readonly", device],
        minimum_grown_bytes=256 << 20,  # btrfs_ioctl_resize() in the kernel
    ),
}


@dataclass(frozen=True)
class Identity:
    """What a low-level probe found at a device or in an image."""

    type: str
    """`ext4`, `swap`, `LVM2_member` …; empty when only a partition table was found."""
    label: str
    uuid: str
    partition_table: str
    """`gpt`, `dos` …, or empty."""

    def __str__(self) -> str:
        if self.partition_table:
            return f"a {self.partition_table} partition table"
        return f"{self.type} {self.label!r}" if self.label else self.type


@dataclass(frozen=True)
class CheckResult:
    """The verdict of a file system's own check, and its words."""

    clean: bool
    words: str


def kind_of(name: str) -> FileSystemKind:
    """The entry of a file system by name. Raises InvalidOption."""
    try:
        return KINDS[name]
    except KeyError:
        raise InvalidOption(
            f"{name!r} is not a file system that Holdfast makes", f"Use {', '.join(KINDS)}."
        ) from None


def make_filesystem(name: str, device: str, label: str, uuid: str) -> None:
    """Make a file system, overwriting the device; a label that is too long is cut."""
    command = kind_of(name).make(device, fitting_label(name, label), uuid)
    if name != "btrfs":
        run(command, deadline_seconds=_MAKE_SECONDS)
        return
    patient_until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            # It reads every block device, too, for one that has this UUID, which is new.
            _out_of_sight(command, _MAKE_SECONDS, device, covered=_BLOCK_DEVICES)
            return
        except CommandFailed:
            if time.monotonic() >= patient_until:
                raise
        time.sleep(_PAUSE_SECONDS)


def _out_of_sight(
    command: list[str],
    seconds: float,
    *needed: str,
    accepted: Sequence[int] = (0,),
    covered: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run it where no mount of anybody else's can be in its way, as it looks at each.

    mkfs.btrfs looks at each and its image; resize2fs, and e2fsck at an image, ask what is behind
    every mounted loop device (e2fsprogs, check_loop_mounted). `needed`: paths that it is to see;
    `covered`: a directory that it is to find empty.
    """

    def work() -> subprocess.CompletedProcess[str]:
        _hide_mounts((*needed, shutil.which(command[0]) or "/usr/sbin", *_NEEDED), covered)
        return run(command, deadline_seconds=seconds, accepted=accepted)

    return in_expendable_child(work, seconds + _GRACE_SECONDS, command[0])


def _hide_mounts(needed: Sequence[str], covered: str) -> None:
    """Leave the mounts of others behind; runs in an expendable child.

    It goes into a copy of the mount namespace from which those are detached (there only, they do
    not feel it) that lie on a server or a loop device, which may be dead or hang.
    """
    visitor = Visitor()
    visitor.retire(hears_of_others=True)  # growing takes minutes
    for each in reversed(visitor.mounts()):
        foreign = each.filesystem.startswith("fuse") or each.source.startswith("/dev/loop")
        if foreign and not any(is_under(path, each.path) for path in needed):
            with suppress(OSError):
                visitor.dismount(each.path, MNT_DETACH)
    if covered:
        with suppress(OSError):
            visitor.mount("none", covered, "tmpfs")


def fitting_label(name: str, label: str) -> str:
    """The label as this file system can hold it."""
    return label.encode()[: kind_of(name).label_bytes].decode(errors="ignore")


def grow_filesystem(name: str, device: str, path: str) -> None:
    """Let a mounted file system fill its device. Idempotent, online, resumable."""
    _out_of_sight(kind_of(name).grow(device, path), _GROW_SECONDS, device, path)


def can_grow_mounted(name: str) -> bool:
    """Whether this process may grow that file system while it is mounted."""
    needed = kind_of(name).grow_capability
    return needed is None or has_capability(needed)


def grow_unmounted_filesystem(name: str, device: str) -> None:
    """Let a file system that is not mounted fill its device; checks it first. Idempotent.

    Raises InvalidOption for a kind that only grows while mounted.
    """
    commands = kind_of(name).grow_unmounted
    if commands is None:
        raise InvalidOption(f"{name} grows only while it is mounted", "Mount it first.")
    for command in commands(device):
        accepted = (0, _CORRECTED) if command[0] == "e2fsck" else (0,)
        run(command, deadline_seconds=_GROW_SECONDS, accepted=accepted)


def check_filesystem(name: str, device: str) -> CheckResult:
    """Check an unmounted file system without writing to it.

    One that was not dismounted in order (its log still to be replayed) may be called damaged:
    mount and dismount it before.
    """
    command = kind_of(name).check(device)
    done = _out_of_sight(command, _CHECK_SECONDS, device, accepted=range(256))
    return CheckResult(done.returncode == 0, (done.stdout + done.stderr).strip())


def identify(path: str) -> Identity | None:
    """What is on a device or in an image, read directly (no cache); None when nothing is known.

    Reads the storage and may hang with it: the command is given up after 20 s.
    """
    found = run(
        ["blkid", "--probe", "--output", "udev", path],
        deadline_seconds=_PROBE_SECONDS,
        accepted=(0, _NOTHING_FOUND, _AMBIVALENT),
    )
    values: dict[str, str] = {}
    for line in found.stdout.splitlines():
        key, separator, value = line.partition("=")
        if separator:
            values[key] = _unescape(value)
    if found.returncode == _AMBIVALENT:
        return Identity("several signatures at once", "", "", "")
    if not values.get("ID_FS_TYPE") and not values.get("ID_PART_TABLE_TYPE"):
        return None
    return Identity(
        type=values.get("ID_FS_TYPE", ""),
        label=values.get("ID_FS_LABEL_ENC", ""),
        uuid=values.get("ID_FS_UUID_ENC", ""),
        partition_table=values.get("ID_PART_TABLE_TYPE", ""),
    )


def has_quota_groups(device: str) -> bool:
    """Whether the btrfs that is mounted from this device has any. Does not touch the device."""
    places = Path("/sys/fs/btrfs").glob(f"*/devices/{Path(device).name}")
    return any((place.parents[1] / "qgroups").exists() for place in places)


def _unescape(text: str) -> str:
    raw = _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), text.encode())
    return raw.decode(errors="replace")
