"""A mark of a fanotify group that is asked for permission, as it was before the dismount."""

from __future__ import annotations

from holdfast.late_dataclass import dataclass
from holdfast.model.bounded import HalfWord, Number, Word


@dataclass(frozen=True)
class PermissionMark:
    """Field names and meaning: fanotify_mark(2), proc_pid_fdinfo(5)."""

    pid: int
    start_time: Word
    """Clock ticks after boot: with the pid it names a process for good."""
    number: Number
    """Of the group's descriptor."""
    group_flags: HalfWord
    """With which the group was made (fanotify_init(2))."""
    kind: str
    """mount | filesystem."""
    mount_id: int
    """The mount that is marked, or one of the file system."""
    mask: Word
    ignored_mask: Word
    flags: HalfWord
    """As the kernel tells them of the mark."""
