"""Processes that are asked for permission whenever a file is opened on a volume (fanotify(7)):
scanners for viruses, lists of programs that may run.

While one stands still, everybody waits who opens a file, we ourselves as well. So one that has
nothing of the volume but marks of its mounts is not stopped: it answers until the last mount is
gone, and its marks are there again before anybody comes by path. Pure.
"""

from __future__ import annotations

from holdfast.model.handle import Handle, HandleKind, User
from holdfast.system.files.fanotify import BEFORE_CONTENTS, PERMISSION

_WITHOUT_INODE = frozenset({"mount", "filesystem"})
"""What is marked has no name that must be found again."""


_STANDS = tuple("Tt")
"""Stopped by a signal, or by a debugger: it answers nobody."""


def goes_on(user: User) -> bool:
    """Whether it is asked for permission, and need not stand still for a move."""
    marks = [each.flags for each in user.handles if each.kind is HandleKind.FANOTIFY]
    if any(mask & BEFORE_CONTENTS for mask in marks):  # it fills files in, also new ones
        return False
    if user.state[:1] in _STANDS:
        return False
    return any(mask & PERMISSION for mask in marks) and all(
        each.thread_id is None
        and (each.mode in _WITHOUT_INODE if each.kind is HandleKind.FANOTIFY else _is_passing(each))
        for each in user.handles
    )


def _is_passing(handle: Handle) -> bool:
    """Whether it may be of a file that an event has open, which is closed after the answer. Where
    it is not, it keeps the volume busy, and the dismount is refused."""
    if handle.kind is HandleKind.MAP:
        return handle.mode.startswith("r--")
    is_plain = handle.kind in (HandleKind.FILE, HandleKind.DIRECTORY)
    return is_plain and handle.mode == "r" and not handle.locks
