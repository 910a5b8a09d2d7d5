"""Marks of fanotify groups: the same group with the same marks, on what takes the old one's place.

A mark goes with what it is on, and has no number; the group stays what it is, so nothing is
replaced in any process: marks are taken off and made again from outside, through a copy of the
group's descriptor (they count for whoever made the group). There is one handle for each mark on the
volume. Unread events keep the volume busy where each has its file open: they are lost then, and the
outcome says so. Groups that are asked for permission block here: whoever opens a file would wait
for a listener that stands still. One whose process goes on never comes here (applications.asked).
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from holdfast.applications.fdinfo import FanotifyMark, parse_group_flags, parse_marks
from holdfast.applications.rebind.handles.process_traits import ProcessTraits
from holdfast.applications.rebind.handles.verdicts import blocks, lost, recreated
from holdfast.applications.rebind.handles.watched import request_of_watched, watched_inode
from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.opening.requests import OpenedFiles, OpenRequest
from holdfast.applications.rebind.parking.notes import HandleNote, MarkDetails
from holdfast.applications.rebind.parking.observed import Observed
from holdfast.applications.rebind.parking.placeholders import Placeholders
from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
from holdfast.errors import Blocked, HoldfastError
from holdfast.model.handle import Handle, HandleOutcome, JudgedHandle
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.files import fanotify
from holdfast.system.proc import link, read

MARK_SECONDS = 5.0
"""How long the marks of one group may keep everybody waiting."""


class FanotifyDriver:
    """Marks on the volume, one handle for each."""

    def judge(self, handle: Handle, facts: ProcessTraits) -> JudgedHandle:
        if handle.flags & fanotify.PERMISSION:
            return blocks(
                handle,
                "whoever opens files there waits for the permission of this process, which"
                " stands still, or would, because it marks single files or has something else of"
                " the volume: end it, or let it take its fanotify marks away",
            )
        if handle.mode == "inode" and not (handle.path or handle.deleted):
            return lost(handle, "what is marked cannot be found: its file system does not answer")
        return recreated(handle, "same masks; events not read by then may be lost")

    def examine(
        self, process: StoppedProcess, handles: Sequence[Handle], directory: Path
    ) -> list[dict[str, Any]]:
        """Find the mark of each. Raises Blocked when it is gone."""
        groups: dict[tuple[int | None, int | None], tuple[int, int, dict[_Key, FanotifyMark]]] = {}
        found = []
        for handle in handles:
            place = handle.thread_id, handle.number
            if place not in groups:
                groups[place] = _look(process, handle)
            group_flags, unread, marks = groups[place]
            mark = marks.get(_key_of(handle))
            if mark is None:
                raise Blocked(
                    f"process {handle.pid}: its fanotify mark of {handle.path} changes",
                    "Try again.",
                )
            found.append(
                {
                    "known": bool(handle.path),
                    "group_flags": group_flags,
                    "mark_flags": mark.flags,
                    "mask": mark.mask,
                    "ignored_mask": mark.ignored_mask,
                    "type": mark.file_handle_type,
                    "handle": mark.file_handle.hex(),
                    "unread_events": unread,
                }
            )
        return found

    def park(
        self, process: StoppedProcess, notes: Sequence[HandleNote], placeholders: Placeholders
    ) -> None:
        """Take the marks off, and out of the queue what keeps the volume busy. Where storage does
        not answer they go with the mount."""
        for group in _groups(notes):
            with suppress(HoldfastError):
                _in_child(process, group, _taken_off)

    def requests(self, note: HandleNote) -> list[OpenRequest]:
        known = note.details_as(MarkDetails).known
        return [request_of_watched(note, _request_key(note), _inode_of(note), known=known)]

    def rebind(
        self,
        process: StoppedProcess,
        notes: Sequence[HandleNote],
        openings: OpenedFiles,
        directory: Path,
    ) -> list[ReboundHandle]:
        lines = []
        for group in _groups(notes):
            opened = [openings[_request_key(note)] for note in group]
            places = [each.descriptor for each in opened]
            try:
                failed = _in_child(process, group, partial(_put_on, places=places))
            except HoldfastError as error:
                failed = [error.message] * len(group)
            for note, result, words in zip(group, opened, failed, strict=True):
                if result.descriptor is None:
                    lines.append(ReboundHandle(note.handle, result.outcome, result.note))
                elif words:
                    lines.append(ReboundHandle(note.handle, HandleOutcome.LOST, words))
                else:
                    lines.append(_done(note))
        return lines

    def is_parked(self, process: StoppedProcess, note: HandleNote) -> bool:
        """Whether it is a group without this mark."""
        folder, number = process.folder(note.handle.thread_id), note.handle.number
        if link(f"{folder}/fd/{number}") != fanotify.LINK:
            return False
        marks = parse_marks(read(f"{folder}/fdinfo/{number}"))
        return _key_of(note.handle) not in {_key_of_mark(mark) for mark in marks}


_Key = tuple[int, int, int]
"""The mount, the device, the inode; 0 where that does not matter."""


def _key_of(handle: Handle) -> _Key:
    if handle.mode == "mount":
        return handle.mount_id, 0, 0
    return 0, handle.start, handle.inode


def _key_of_mark(mark: FanotifyMark) -> _Key:
    return mark.mount_id, os.makedev(*mark.device) if mark.device else 0, mark.inode


def _look(process: StoppedProcess, handle: Handle) -> tuple[int, int, dict[_Key, FanotifyMark]]:
    """The flags of a group, how many events wait in it, and its marks."""
    text = read(f"{process.folder(handle.thread_id)}/fdinfo/{handle.number}")
    with process.copy_of(handle) as copy:
        unread = fanotify.unread_events(copy)
    return parse_group_flags(text), unread, {_key_of_mark(mark): mark for mark in parse_marks(text)}


def _groups(notes: Sequence[HandleNote]) -> list[list[HandleNote]]:
    """The notes of each group, once each: of one of the descriptors that it has here."""
    found: dict[tuple[int | None, str], list[HandleNote]] = {}
    for note in notes:
        found.setdefault((note.handle.thread_id, note.details.key), []).append(note)
    return list(found.values())


def _in_child(process: StoppedProcess, group: Sequence[HandleNote], work: Any) -> Any:
    """What `work` makes of a copy of the group in an expendable child: looking up paths may block,
    the group is the same there. Raises HoldfastError, OSError."""
    time_budget = process.tracee.time_budget
    with process.copy_of(group[0].handle) as copy:
        begun = time.monotonic()
        try:
            seconds = min(MARK_SECONDS, time_budget.limit_seconds)
            return in_expendable_child(partial(work, copy, group), seconds, "fanotify marks")
        finally:
            time_budget.spend(time.monotonic() - begun)


def _taken_off(group: int, notes: Sequence[HandleNote]) -> None:
    """Take the marks off; where they are all of their type, without looking at any path."""
    ours = {_key_of(note.handle) for note in notes}
    for name, kind in fanotify.KINDS.items():
        mine = [note for note in notes if note.handle.mode == name]
        marks = [mark for mark in parse_marks(_information(group)) if mark.kind == name]
        if mine and marks and all(_key_of_mark(mark) in ours for mark in marks):
            with suppress(OSError):
                fanotify.mark(group, fanotify.FLUSH | kind, 0, "/")
            continue
        for note in mine if marks else ():
            handle = note.handle
            for flags, mask in _calls(note.details_as(MarkDetails), fanotify.REMOVE):
                with suppress(OSError):  # it goes with the mount
                    fanotify.mark(
                        group, flags | kind, mask, f"/proc/{handle.pid}/root{handle.path}"
                    )
    if not fanotify.names_files(notes[0].details_as(MarkDetails).group_flags):
        fanotify.drain(group)


def _put_on(group: int, notes: Sequence[HandleNote], places: Sequence[int | None]) -> list[str]:
    """Make the marks again on what was opened; for each why it is not what it was, or nothing."""
    failed = []
    for note, place in zip(notes, places, strict=True):
        words = ""
        if place is not None:
            try:
                for flags, mask in _calls(note.details_as(MarkDetails), fanotify.ADD):
                    kind = fanotify.KINDS[note.handle.mode]
                    fanotify.mark(group, flags | kind, mask, f"/proc/self/fd/{place}")
            except OSError as error:
                words = error.strerror or str(error)
        failed.append(words)
    return failed


def _calls(details: MarkDetails, act: int) -> list[tuple[int, int]]:
    return fanotify.calls_for(details.mask, details.ignored_mask, details.mark_flags, act)


def _done(note: HandleNote) -> ReboundHandle:
    details = note.details_as(MarkDetails)
    words = ""
    if details.unread_events and fanotify.names_files(details.group_flags):
        words = f"{details.unread_events} events not read by then name files of the old storage"
    elif details.unread_events:
        words = f"{details.unread_events} events that were not read are lost"
    return ReboundHandle(note.handle, HandleOutcome.IDENTICAL, words)


def _request_key(note: HandleNote) -> str:
    """What is marked by the same group is opened once."""
    handle = note.handle
    state = "unknown" if handle.deleted or not note.details_as(MarkDetails).known else "known"
    return f"mark-{handle.mode}-{handle.mount_id}-{handle.inode}-{state}-{note.details.inside}"


def _inode_of(note: HandleNote) -> Observed | None:
    """What is known of the inode that is marked: nothing but what the group says."""
    details = note.details_as(MarkDetails)
    if note.handle.mode != "inode":
        return None
    return watched_inode(note.handle.inode, details.type, details.handle, lasting=details.lasting)


def _information(descriptor: int) -> bytes:
    return read(f"/proc/self/fdinfo/{descriptor}")
