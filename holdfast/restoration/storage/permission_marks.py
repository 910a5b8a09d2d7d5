"""Marks of those who are asked for permission and are not stopped: noted, and made again.

The kernel takes them away with the last mount, not before: so nobody opens anything unasked.
Invariant: nothing is marked for a group that nobody reads any more, and no group is kept by us for
longer than it takes to mark: it may be asked all over the host, and if its process ended, everybody
would wait who opens a file, we as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial

from holdfast.applications.fdinfo import FanotifyMark, parse_group_flags, parse_marks
from holdfast.errors import Blocked, HoldfastError
from holdfast.model.finding import Finding, Verdict
from holdfast.model.mountpoint import MountPoint
from holdfast.model.permission_mark import PermissionMark
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.files import fanotify
from holdfast.system.proc import link, names, read
from holdfast.system.processes.process import copy_descriptor
from holdfast.system.processes.process_state import DEAD, read_state

_MARK_SECONDS = 5.0
"""For all marks of one group; each takes some microseconds."""


def marks_of(asked: Mapping[int, int], points: Sequence[MountPoint]) -> list[PermissionMark]:
    """The marks of these processes (number → start time) on these mounts, and on their file system.
    Raises Blocked where one marks anything else of it by now."""
    found: list[PermissionMark] = []
    for pid, start_time in asked.items():
        numbers: list[str] = []
        with suppress(OSError):  # it ends
            numbers = names(f"/proc/{pid}/fd") if _runs(pid, start_time) else []
        for number in map(int, numbers):
            with suppress(FileNotFoundError, ProcessLookupError):  # closed meanwhile
                found += _marks_of_group(pid, start_time, number, points)
    return found


def _marks_of_group(
    pid: int, start_time: int, number: int, points: Sequence[MountPoint]
) -> list[PermissionMark]:
    if not _is_group(pid, number):
        return []
    text = read(f"/proc/{pid}/fdinfo/{number}")
    group_flags = parse_group_flags(text)
    return [
        PermissionMark(
            pid, start_time, number, group_flags, mark.kind, where.id,
            mark.mask, mark.ignored_mask, mark.flags,
        )
        for mark in parse_marks(text)
        if (where := _place(pid, mark, points)) is not None
    ]  # fmt: skip


def put_on(marks: Sequence[PermissionMark], roots: Mapping[int, int]) -> list[Finding]:
    """Make them again on the mounts that take the places of theirs (see `Covered`); what is said of
    those that cannot be. May be repeated. Blocks some seconds at most."""
    by_group: dict[tuple[int, int], list[PermissionMark]] = {}
    for mark in marks:
        by_group.setdefault((mark.pid, mark.number), []).append(mark)
    findings = []
    for mine in by_group.values():
        pid = mine[0].pid
        if not _runs(pid, mine[0].start_time):
            continue
        try:
            with _group_of(mine[0]) as group:
                work = partial(_put_on, group, mine, roots)
                words = in_expendable_child(work, _MARK_SECONDS, "fanotify marks")
        except (HoldfastError, OSError) as error:
            words = [error.message if isinstance(error, HoldfastError) else str(error)]
        for why in dict.fromkeys(filter(None, words)):
            findings.append(
                Finding(
                    "fanotify", Verdict.LIMITED,
                    f"process {pid} is not asked any more before files are opened: {why}",
                    "Its mark went with the old mount.", "Restart it.",
                )
            )  # fmt: skip
    return findings


def unasked_in_words(marks: Sequence[PermissionMark]) -> list[str]:
    """Who had them and runs, for people."""
    pids = dict.fromkeys(mark.pid for mark in marks if _runs(mark.pid, mark.start_time))
    return [f"process {pid} may not be asked any more before files are opened" for pid in pids]


def _runs(pid: int, start_time: int) -> bool:
    state = read_state(pid)
    return state is not None and state.start_time == start_time and state.state not in DEAD


def _is_group(pid: int, number: int) -> bool:
    with suppress(OSError):  # closed, or of a path that is too long to be told
        return link(f"/proc/{pid}/fd/{number}") == fanotify.LINK
    return False


def _place(pid: int, mark: FanotifyMark, points: Sequence[MountPoint]) -> MountPoint | None:
    """The mount that is marked, or one of the file system that is; None: it is elsewhere."""
    if mark.device is None:
        return next((each for each in points if each.id == mark.mount_id), None)
    device = "{}:{}".format(*mark.device)
    found = next((each for each in points if each.device == device), None)
    if found is not None and mark.kind == "inode":
        raise Blocked(
            f"process {pid}, which is asked for permission, marks single files of the volume by"
            " now: they could not be found again",
            "End it, or let it take its fanotify marks away.",
        )
    return found


@contextmanager
def _group_of(mark: PermissionMark) -> Iterator[int]:
    """A copy of its group. Raises OSError."""
    group = copy_descriptor(mark.pid, mark.number)
    try:
        is_group = link(f"/proc/self/fd/{group}") == fanotify.LINK
        if (
            not is_group
            or parse_group_flags(read(f"/proc/self/fdinfo/{group}")) != mark.group_flags
        ):
            raise OSError("it has closed its group")
        yield group
    finally:
        os.close(group)


def _put_on(group: int, marks: Sequence[PermissionMark], roots: Mapping[int, int]) -> list[str]:
    """Runs in an expendable child."""
    words = []
    for mark in marks:
        root = roots.get(mark.mount_id)
        if root is None and mark.kind == "filesystem":
            root = next(iter(roots.values()), None)
        if root is None:
            words.append("its mount is not there any more")
            continue
        try:
            for flags, mask in fanotify.calls_for(
                mark.mask, mark.ignored_mask, mark.flags, fanotify.ADD
            ):
                kind = fanotify.KINDS[mark.kind]
                fanotify.mark(group, flags | kind, mask, f"/proc/self/fd/{root}")
        except OSError as error:
            words.append(error.strerror or str(error))
    return words
