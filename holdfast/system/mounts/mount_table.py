"""The mount table: what is mounted where, mounting, unmounting.

Reads /proc/self/mountinfo only: it names mounts without touching them, so a hung or dead file
system cannot block the reader. Must never stat a mount point.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from holdfast.errors import CommandFailed, InUse
from holdfast.late_dataclass import dataclass
from holdfast.system.children.run import run
from holdfast.system.proc import read_record
from holdfast.system.proc_text import lines, number_of, unescaped

_MOUNTINFO = Path("/proc/self/mountinfo")
_FSTAB = Path("/etc/fstab")
_REFUSING = frozenset({"ro", "emergency_ro", "shutdown"})
"""Super options of a file system that takes no writes; the latter two are ext4's since 6.15."""

MNT_FORCE, MNT_DETACH = 1, 2
"""umount2(2), <linux/fs.h>."""

_UMOUNT_NOFOLLOW = 8
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Mount:
    """One line of mountinfo."""

    identifier: int
    parent: int
    device_number: str
    """`major:minor` of the file system."""
    root: str
    """Folder of the file system that forms the root of this mount."""
    path: str
    options: str
    """Per-mount options (rw, noatime …)."""
    filesystem: str
    source: str
    super_options: str
    tags: tuple[str, ...] = ()
    """Optional fields: `shared:7`, `master:3`, `propagate_from:2`, `unbindable`."""

    @property
    def read_only(self) -> bool:
        """Whether writes are refused: by the mount, or by the file system after an I/O error."""
        return "ro" in self.options.split(",") or not _REFUSING.isdisjoint(
            self.super_options.split(",")
        )

    def is_from(self, device: str) -> bool:
        """Whether it lies on this block device (`/dev/loop3`).

        FUSE servers call themselves what they like, and anybody may have one. Not so `fuseblk`,
        which only root mounts.
        """
        return self.source == device and self.filesystem.partition(".")[0] != "fuse"


def parse_mountinfo(text: bytes) -> list[Mount]:
    """The mounts of a mountinfo text, in mount order; lines of unknown shape are skipped."""
    return [mount for line in lines(text) if (mount := parse_mount(line)) is not None]


def parse_mount(line: bytes) -> Mount | None:
    """The mount of one line; None: it has an unknown shape."""
    before, separator, after = line.partition(b" - ")
    left, right = before.split(b" "), after.split(b" ")
    if not separator or len(left) < 6 or len(right) < 2:
        return None
    return Mount(
        identifier=int(left[0]),
        parent=int(left[1]),
        device_number=left[2].decode(),
        root=unescaped(left[3]),
        path=unescaped(left[4]),
        options=os.fsdecode(left[5]),
        filesystem=unescaped(right[0]),
        source=unescaped(right[1]),
        super_options=os.fsdecode(right[2]) if len(right) > 2 else "",
        tags=tuple(os.fsdecode(tag) for tag in left[6:]),
    )


def mounts() -> list[Mount]:
    """Every mount of this mount namespace, oldest first (by age, also of those that lie below
    another); does not block."""
    return parse_mountinfo(_MOUNTINFO.read_bytes())


def mount_at(path: str | os.PathLike[str]) -> Mount | None:
    """The topmost mount whose mount point is exactly this path."""
    return topmost(mounts(), os.path.normpath(os.fspath(path)))


def topmost(table: Sequence[Mount], path: str) -> Mount | None:
    """The one in sight of those mounted at a path. Pure.

    Not by age: one that was put beneath another (Linux 6.5) is the younger one.
    """
    there = [mount for mount in table if mount.path == path]
    covered = {mount.parent for mount in there}
    return next((mount for mount in reversed(there) if mount.identifier not in covered), None)


def mount_holding(path: str | os.PathLike[str]) -> Mount | None:
    """The mount a path lies on, judged by its name alone: resolve links before."""
    wanted = os.path.normpath(os.fspath(path))
    table = mounts()
    above = [mount.path for mount in table if is_under(wanted, mount.path)]
    return topmost(table, max(above, key=len)) if above else None


def mount_number(descriptor: int) -> int:
    """The mount (mountinfo, first field) through which a descriptor of ours was opened.

    Nothing is asked of its file system.
    """
    return number_of(read_record(f"/proc/self/fdinfo/{descriptor}"), b"mnt_id") or 0


def mounts_under(path: str | os.PathLike[str]) -> list[Mount]:
    """The mounts at this path and below it, oldest first."""
    wanted = os.path.normpath(os.fspath(path))
    return [mount for mount in mounts() if is_under(mount.path, wanted)]


def mounts_from(device: str) -> list[Mount]:
    """The mounts that lie on this block device (`/dev/loop3`), oldest first.

    Unlike a look-up by device number it finds btrfs, which mounts with a number of its own.
    """
    return [mount for mount in mounts() if mount.is_from(device)]


def is_under(path: str, folder: str) -> bool:
    """Whether a normal absolute path is this folder or below it, by name."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def mount(source: str, path: str, filesystem: str, options: str = "") -> None:
    """Mount a device; raises CommandFailed with the words of mount(8).

    mount(8) and not mount(2): it sorts options into flags and data as people write them in fstab.
    """
    command = ["mount", "-t", filesystem]
    if options:
        command += ["-o", options]
    run([*command, "--", source, path])


def unmount(path: str | os.PathLike[str], *, lazy: bool = False) -> bool:
    """Unmount what is mounted at the path; False when nothing was.

    Blocks while dirty pages are written. Raises InUse when it is busy. `lazy` detaches it from
    the tree at once and lets it die with its last user: only for what is dead already.
    """
    flags = _UMOUNT_NOFOLLOW | (MNT_DETACH if lazy else 0)
    if _libc.umount2(os.fsencode(path), flags) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOENT) and mount_at(path) is None:
        return False
    words = f"{os.fspath(path)} cannot be unmounted: {os.strerror(number)}"
    if number == errno.EBUSY:
        raise InUse(words, "Close what uses it: fuser -vm names the processes.")
    raise CommandFailed(words)


def fstab_line(path: str | os.PathLike[str], fstab: Path = _FSTAB) -> str:
    """The fstab line whose mount point is this path, or an empty string."""
    return next(iter(fstab_lines(path, fstab=fstab)), "")


def fstab_lines(
    path: str | os.PathLike[str], sources: Collection[str] = (), fstab: Path = _FSTAB
) -> list[str]:
    """The fstab lines whose mount point is this path, or whose source is one of these."""
    wanted = os.path.normpath(os.fspath(path))
    try:
        text = fstab.read_bytes()
    except OSError:
        return []
    found = []
    for line in lines(text):
        fields = line.split()
        if len(fields) >= 2 and not fields[0].startswith(b"#"):
            source, point = unescaped(fields[0]), os.path.normpath(unescaped(fields[1]))
            if point == wanted or source in sources:
                found.append(os.fsdecode(line.strip()))
    return found
