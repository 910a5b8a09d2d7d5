"""Files that are copied through Holdfast's own state, because no name leads to them.

These are files that were removed while they are open, and programs that run (they must not change
under their processes). Each inode counts once, however many handles it has. Looks at links of /proc
in an expendable child; opens nothing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from holdfast.applications.rebind.parking.kept_contents import is_enough_for
from holdfast.applications.rebind.parking.placed_contents import CopiedAhead, OpenFile
from holdfast.applications.users import find_users
from holdfast.errors import HoldfastError
from holdfast.late_dataclass import dataclass
from holdfast.model.finding import Finding, Verdict
from holdfast.model.handle import Handle, HandleKind, User
from holdfast.model.mountpoint import MountPoint
from holdfast.model.size import format_size
from holdfast.restoration.copying.process.child import Copying
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.messages.printable import printable

_ANSWER_SECONDS = 5.0
_BLOCK_BYTES = 512
"""Of st_blocks: stat(2)."""


@dataclass(frozen=True)
class Carried:
    """How many bytes these files have, and which they are."""

    total_bytes: int = 0
    largest_bytes: int = 0
    largest: Handle | None = None
    files: tuple[OpenFile, ...] = ()
    """One for each inode."""


def what_is_carried(users: Sequence[User]) -> Carried:
    """The files that these users' handles lead to; none where the storage does not answer."""
    handles = [handle for user in users for handle in user.handles if _may_be_carried(handle)]
    if not handles:
        return Carried()
    try:
        sizes = in_expendable_child(partial(_sizes, handles), _ANSWER_SECONDS, "open files")
    except (HoldfastError, OSError):
        return Carried()
    by_inode = {
        key: (size_bytes, handle)
        for handle, (key, size_bytes) in zip(handles, sizes, strict=True)
        if key is not None
    }
    if not by_inode:
        return Carried()
    largest_bytes, largest = max(by_inode.values(), key=lambda each: each[0])
    temporary = {
        key
        for handle, (key, _) in zip(handles, sizes, strict=True)
        if handle.flags & os.O_TMPFILE == os.O_TMPFILE
    }
    files = tuple(
        OpenFile(_link(handle), *key, is_temporary=key in temporary)
        for key, (_, handle) in by_inode.items()
    )
    return Carried(sum(size for size, _ in by_inode.values()), largest_bytes, largest, files)


def copy_what_is_carried(
    copying: Copying, points: Sequence[MountPoint], own_pids: Collection[int], directory: Path
) -> tuple[CopiedAhead, float]:
    """Copy these files now, while everybody runs; what was copied, and how many seconds it took.
    `directory`: of the record. Raises HoldfastError."""
    users = [user for user in find_users(points) if user.pid not in own_pids]
    is_seen = any(
        not point.inside and "ro" not in f"{point.options},{point.super_options}".split(",")
        for point in points
    )
    return copying.copy_ahead(directory, what_is_carried(users).files, onto_target=is_seen)


def about_room(carried: Carried, users: Sequence[User], directory: str) -> list[Finding]:
    """A finding where the disk of Holdfast's own state is too small for them. Asks that disk."""
    if carried.largest is None or is_enough_for(directory, carried.total_bytes):
        return []
    space = os.statvfs(directory)
    handle = carried.largest
    name = next((user.name for user in users if user.pid == handle.pid), "")
    return [
        Finding(
            "room for files without a name",
            Verdict.BLOCKS,
            f"{format_size(carried.total_bytes)} must be carried over through {directory}, which"
            f" has {format_size(space.f_bavail * space.f_frsize)}",
            f"The largest, {format_size(carried.largest_bytes)}: {printable(handle.path)} of"
            f" {printable(name)} (process {handle.pid}).",
            "Let that process close it, or give Holdfast's state another disk: HOLDFAST_HOME.",
        )
    ]


def _may_be_carried(handle: Handle) -> bool:
    if handle.kind is HandleKind.MAP:
        return handle.deleted or "x" in handle.mode
    return handle.kind is HandleKind.EXECUTABLE or (
        handle.kind in (HandleKind.FILE, HandleKind.PATH) and handle.deleted
    )


def _sizes(handles: Sequence[Handle]) -> list[tuple[tuple[int, int] | None, int]]:
    """For each handle its inode, and its bytes on storage; runs in the child."""
    found: list[tuple[tuple[int, int] | None, int]] = []
    for handle in handles:
        with suppress(OSError):
            status = os.stat(_link(handle))  # noqa: PTH116
            if stat.S_ISREG(status.st_mode) and status.st_ino == handle.inode:
                found.append(((status.st_dev, status.st_ino), status.st_blocks * _BLOCK_BYTES))
                continue
        found.append((None, 0))
    return found


def _link(handle: Handle) -> str:
    if handle.kind is HandleKind.MAP:
        return f"/proc/{handle.pid}/map_files/{handle.start:x}-{handle.end:x}"
    if handle.kind is HandleKind.EXECUTABLE:
        return f"/proc/{handle.pid}/exe"
    return f"/proc/{handle.thread_id or handle.pid}/fd/{handle.number}"
