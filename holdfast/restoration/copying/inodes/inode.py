"""What an inode has besides contents and attributes: the flags of chattr(1), and a project id.

Invariant: the copy has what the source has, or the answer names what is missing. Flags that would
hinder a later pass (immutable and the like) are set at the very end. On some file systems symbolic
links and devices have flags and project ids, too, which no system call returns.
"""

from __future__ import annotations

from holdfast.late_dataclass import dataclass
from holdfast.system.files.inode_flags import (
    further_attributes,
    read_flags,
    set_flags,
    set_further_attributes,
)

_IMMUTABLE, _APPEND, _ENCRYPTED, _VERITY = 0x10, 0x20, 0x800, 0x100000
_FLAGS = {
    0x1: "chattr flag s",
    0x2: "chattr flag u",
    0x4: "chattr flag c (compressed)",
    0x8: "chattr flag S (synchronous)",
    0x40: "chattr flag d",
    0x80: "chattr flag A",
    0x400: "chattr flag m (not compressed)",
    0x4000: "chattr flag j (data journalled)",
    0x8000: "chattr flag t",
    0x10000: "chattr flag D (synchronous directory)",
    0x20000: "chattr flag T",
    0x800000: "chattr flag C (not copied on write)",
    0x2000000: "chattr flag x (DAX)",
    0x20000000: "chattr flag P (project id inherited)",
    0x40000000: "chattr flag F (case-insensitive names)",
    _APPEND: "chattr flag a (append only)",
    _IMMUTABLE: "chattr flag i (immutable)",
}
"""<linux/fs.h>, FS_…_FL, with the letters of chattr(1). Those after which a file cannot be changed
come last."""
_STATES = {_ENCRYPTED: "encryption", _VERITY: "fs-verity"}
"""Flags that tell of something and cannot be set as such."""
_SETTABLE = sum(_FLAGS)
_LATE = _IMMUTABLE | _APPEND | 0x8 | 0x10000 | 0x20000000
"""No file can be changed, each write waits, or names cannot be moved between projects."""

_HINTS = 0x1 | 0x100 | 0x400 | 0x800 | 0x1000 | 0x2000 | 0x4000 | 0x10000
"""<linux/fs.h>, FS_XFLAG_… of XFS alone: real-time, no symbolic links, extent sizes, streams."""


@dataclass(frozen=True, slots=True)
class Properties:
    """Flags and project id of one file or directory."""

    flags: int = 0
    project: int = 0
    has_hints: bool = False
    """Whether XFS was told where and in which portions to put it."""

    @property
    def late_flags(self) -> int:
        """The flags that `give_late` sets."""
        return self.flags & _LATE


def properties_of(descriptor: int) -> Properties:
    """The properties of an inode; none where the file system knows no such things."""
    try:
        flags = read_flags(descriptor)
        further = further_attributes(descriptor)
    except OSError:
        return Properties()
    return Properties(
        flags & (_SETTABLE | sum(_STATES)), further.project, bool(further.flags & _HINTS)
    )


def give(descriptor: int, wanted: Properties) -> list[str]:
    """Make a copy's properties equal, but for the late flags; what could not be kept, in words.

    Best before anything is written: some flags only a file without contents takes.
    """
    lost = _set_flags(descriptor, wanted.flags, _SETTABLE & ~_LATE)
    lost += [words for flag, words in _STATES.items() if wanted.flags & flag]
    if wanted.has_hints:
        lost.append("allocation hints of XFS")
    if not _set_project(descriptor, wanted.project):
        lost.append("project id")
    return lost


def give_late(descriptor: int, flags: int) -> list[str]:
    """The flags after which a file can no more be changed; what could not be kept, in words."""
    return _set_flags(descriptor, flags, _LATE)


def _set_flags(descriptor: int, wanted: int, among: int) -> list[str]:
    """Set and take away `among` these flags; the words for what is not there afterwards."""
    wanted &= among
    try:
        present = read_flags(descriptor)
        if present & among != wanted:
            present = _change(descriptor, present, present & ~among | wanted)
    except OSError:
        present = 0
    return [words for flag, words in _FLAGS.items() if wanted & flag & ~present]


def _change(descriptor: int, present: int, wanted: int) -> int:
    """All at once, or one after the other where some are refused; those that are there then."""
    try:
        set_flags(descriptor, wanted)
    except OSError:
        for flag in _FLAGS:
            if (present ^ wanted) & flag:
                try:
                    set_flags(descriptor, present ^ flag)
                    present ^= flag
                except OSError:
                    continue
    # Some are taken without a complaint, and without effect: asked again.
    return read_flags(descriptor)


def _set_project(descriptor: int, project: int) -> bool:
    try:
        present = further_attributes(descriptor)
        if present.project != project:
            set_further_attributes(descriptor, present._replace(project=project))
    except OSError:
        return project == 0
    return True
