"""Watches of inotify instances: a new instance with the same watches under the same numbers.

A watch cannot be moved, and an instance never gives a number out twice. So a new instance is made
in the process (it counts for the same user), watches are added and removed until the next number
is the wanted one, and it takes the place of the old one under all of its descriptors and in the
epoll instances that wait for it. Events that were not read before the stop are lost; what the
dismount would say (IN_UNMOUNT, IN_IGNORED) is never seen. There is one handle for each watch on
the volume; watches elsewhere of the same instance are added again as well. Invariant: one user's
watches keep everybody else waiting for a second or two, however many he has.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from holdfast.applications.fdinfo import InotifyWatch, parse_information, parse_watches
from holdfast.applications.rebind.handles.epoll import Registrations, add_again
from holdfast.applications.rebind.handles.process_traits import ProcessTraits
from holdfast.applications.rebind.handles.verdicts import blocks, lost, recreated
from holdfast.applications.rebind.handles.watched import request_of_watched, watched_inode
from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.opening.requests import OpenedFiles, OpenRequest
from holdfast.applications.rebind.parking.notes import HandleNote, WatchDetails, WatchRecord
from holdfast.applications.rebind.parking.observed import Observed
from holdfast.applications.rebind.parking.placeholders import Placeholders
from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
from holdfast.errors import HoldfastError
from holdfast.model.handle import Handle, HandleOutcome, JudgedHandle
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.files import inotify
from holdfast.system.mounts.mount_table import mounts
from holdfast.system.proc import link, read

MOST_NUMBERS = 200_000
"""Watch numbers that are used up for all instances of one user; each costs a few microseconds while
everybody waits."""

WATCH_SECONDS = 5.0

_INSTANCE_LINK = "anon_inode:inotify"
"""What links in /proc to an instance say."""

_ANY_EVENT = 0x4  # IN_ATTRIB: on an empty folder of our own, where none ever comes
_DRAIN_AFTER = 4096
"""Each number that is skipped leaves an IN_IGNORED event; the queue holds 16384 by default."""


class InotifyDriver:
    """Watches on the volume, one handle for each."""

    def judge(self, handle: Handle, facts: ProcessTraits) -> JudgedHandle:
        if handle.start > MOST_NUMBERS:
            return blocks(handle, f"its watches have numbers up to {handle.start}")
        if handle.deleted:
            words = "what is watched was removed, and is open; events not read by then are lost"
            return recreated(handle, words)
        if not handle.path:
            return lost(handle, "what is watched cannot be found: its file system does not answer")
        return recreated(handle, "same number and mask; events not read by then are lost")

    def examine(
        self, process: StoppedProcess, handles: Sequence[Handle], directory: Path
    ) -> list[dict[str, Any]]:
        found = []
        registrations = Registrations(process)
        for handle in handles:
            text = read(f"{process.folder(handle.thread_id)}/fdinfo/{handle.number}")
            with process.copy_of(handle) as copy:
                unread = inotify.unread_bytes(copy)
            found.append(
                {
                    "instance_flags": parse_information(text).flags,
                    "watches": tuple(_record_of(watch) for watch in parse_watches(text)),
                    "unread_bytes": unread,
                    "interests": registrations.of(handle),
                    # Without a path the empty `inside` would mean the root of the file system.
                    "known": bool(handle.path),
                }
            )
        return found

    def park(
        self, process: StoppedProcess, notes: Sequence[HandleNote], placeholders: Placeholders
    ) -> None:
        """A new instance without watches: nothing happens that it could tell of."""
        for instance in _instances(notes):
            number = process.tracee.call(
                "inotify_init1", _flags(instance[0]), thread_id=instance[0].handle.thread_id
            )
            _put(process, instance, number)

    def requests(self, note: HandleNote) -> list[OpenRequest]:
        known = note.details_as(WatchDetails).known
        return [request_of_watched(note, _key(note), _inode_of(note), known=known)]

    def rebind(
        self,
        process: StoppedProcess,
        notes: Sequence[HandleNote],
        openings: OpenedFiles,
        directory: Path,
    ) -> list[ReboundHandle]:
        lines = []
        for instance in _instances(notes):
            lines += self._rebind(process, instance, openings)
        return lines

    def _rebind(
        self, process: StoppedProcess, instance: list[HandleNote], openings: OpenedFiles
    ) -> list[ReboundHandle]:
        first = instance[0]
        thread_id = first.handle.thread_id
        failed: dict[int, str] = {}
        made = openings.instances.get(first.details.key)
        if made is None:
            number = process.tracee.call("inotify_init1", _flags(first), thread_id=thread_id)
            made = process.tracee.channel(thread_id).take(number)
            openings.instances[first.details.key] = made
            failed = _watched_again(process, made, instance, openings)
        else:
            number = process.tracee.give(made, thread_id)
        _put(process, instance, number)
        return [_outcome(note, openings, failed) for note in instance]

    def is_parked(self, process: StoppedProcess, note: HandleNote) -> bool:
        """The placeholder is an instance without watches."""
        folder, number = process.folder(note.handle.thread_id), note.handle.number
        watches = parse_watches(read(f"{folder}/fdinfo/{number}"))
        return link(f"{folder}/fd/{number}") == _INSTANCE_LINK and not watches


def _watched_again(
    process: StoppedProcess, made: int, instance: Sequence[HandleNote], openings: OpenedFiles
) -> dict[int, str]:
    """Add the watches to a new instance; which ones failed, and why.

    Everybody waits meanwhile, so what one user may cost them is bounded: by numbers and by time.
    """
    watches = instance[0].details_as(WatchDetails).watches
    if not watches:  # whatever it watched was removed while its process was being stopped
        return {}
    user_id = process.rights[0].user_id if process.rights else -1
    skipped = max(watch.number for watch in watches) - len(watches)
    if openings.skipped.get(user_id, 0) + skipped > MOST_NUMBERS:
        words = "its user has had too many watches: to use up their numbers would take too long"
        return dict.fromkeys((watch.number for watch in watches), words)
    openings.skipped[user_id] = openings.skipped.get(user_id, 0) + skipped
    time_budget = process.tracee.time_budget
    seconds = min(WATCH_SECONDS, time_budget.limit_seconds)
    begun = time.monotonic()
    try:
        # Looking up paths may block, the instance is the same in the child.
        work = partial(_add_watches, made, instance, openings)
        return in_expendable_child(work, seconds, "adding watches")
    except HoldfastError as error:
        return dict.fromkeys((watch.number for watch in watches), error.message)
    finally:
        time_budget.spend(time.monotonic() - begun)


def _outcome(note: HandleNote, openings: OpenedFiles, failed: dict[int, str]) -> ReboundHandle:
    opened = openings[_key(note)]
    if opened.descriptor is None:
        return ReboundHandle(note.handle, opened.outcome, opened.note)
    if note.handle.start not in {each.number for each in note.details_as(WatchDetails).watches}:
        return ReboundHandle(note.handle, HandleOutcome.LOST, "what was watched was removed")
    if note.handle.start in failed:
        return ReboundHandle(note.handle, HandleOutcome.LOST, failed[note.handle.start])
    unread_bytes = note.details_as(WatchDetails).unread_bytes
    if unread_bytes:
        words = f"{unread_bytes} bytes of events that were not read are lost"
        return ReboundHandle(note.handle, HandleOutcome.IDENTICAL, words)
    return ReboundHandle(note.handle, HandleOutcome.IDENTICAL)


def _instances(notes: Sequence[HandleNote]) -> list[list[HandleNote]]:
    """The notes of each instance: of every watch under every descriptor that it has here."""
    found: dict[tuple[int | None, str], list[HandleNote]] = {}
    for note in notes:
        found.setdefault((note.handle.thread_id, note.details.key), []).append(note)
    return list(found.values())


def _put(process: StoppedProcess, instance: Sequence[HandleNote], number: int) -> None:
    """Let all descriptors of an instance be duplicates of this one, which is closed."""
    thread_id = instance[0].handle.thread_id
    flags = {note.handle.number: note.details_as(WatchDetails).instance_flags for note in instance}
    for place, each in flags.items():
        assert place is not None
        process.tracee.call("dup3", number, place, each & os.O_CLOEXEC, thread_id=thread_id)
    process.tracee.call("close", number, thread_id=thread_id)
    unique = {str(note.handle.number): note.details_as(WatchDetails).interests for note in instance}
    for interest in unique.values():
        add_again(process, interest, thread_id)


def _flags(note: HandleNote) -> int:
    """The flags of inotify_init1(2) with which the instance was made."""
    return note.details_as(WatchDetails).instance_flags & os.O_NONBLOCK | os.O_CLOEXEC


def _key(note: HandleNote) -> str:
    """The same inode watched by the same descriptor is opened once."""
    handle, known = note.handle, note.details_as(WatchDetails).known
    state = "known" if known and not handle.deleted else "unknown"
    return f"watch-{handle.mount_id}-{handle.inode}-{state}-{note.details.inside}"


def _inode_of(note: HandleNote) -> Observed | None:
    """What is known of the inode that is watched: nothing but what the instance says."""
    number = note.handle.start
    details = note.details_as(WatchDetails)
    for watch in details.watches:
        if watch.number == number:
            return watched_inode(watch.inode, watch.type, watch.handle, lasting=details.lasting)
    return None


def _add_watches(
    ours: int, instance: Sequence[HandleNote], openings: OpenedFiles
) -> dict[int, str]:
    """Add all watches in the order of their numbers; which ones failed, and why."""
    on_volume = {note.handle.start: note for note in instance}
    failed: dict[int, str] = {}
    filler = _Filler(ours)
    watches = [_watch_of(each) for each in instance[0].details_as(WatchDetails).watches]
    try:
        for watch in sorted(watches, key=lambda watch: watch.number):
            filler.fill_up_to(watch.number)
            note = on_volume.get(watch.number)
            try:
                if note is None:
                    filler.last = _watch_elsewhere(ours, watch)
                else:
                    opened = openings[_key(note)].descriptor
                    if opened is not None:
                        path = f"/proc/self/fd/{opened}"
                        filler.last = inotify.add_watch(ours, path, watch.mask)
            except OSError as error:
                failed[watch.number] = error.strerror or str(error)
        filler.drain()
    finally:
        filler.close()
    return failed


class _Filler:
    """Uses up watch numbers on an empty folder that nobody else knows."""

    def __init__(self, ours: int) -> None:
        self._ours = ours
        self._placeholders = Placeholders()
        self._path = f"/proc/self/fd/{self._placeholders.directory}"
        self._undrained = 0
        self.last = 0
        """The number that was given out last."""

    def fill_up_to(self, number: int) -> None:
        """Use up all numbers before this one."""
        while self.last < number - 1:
            self.last = inotify.add_watch(self._ours, self._path, _ANY_EVENT)
            inotify.remove_watch(self._ours, self.last)
            self._undrained += 1
            if self._undrained >= _DRAIN_AFTER:
                self.drain()

    def drain(self) -> None:
        """Take the IN_IGNORED events of the used-up numbers out of the queue."""
        if self._undrained:
            with suppress(BlockingIOError):
                waiting = inotify.unread_bytes(self._ours)
                if waiting:
                    os.read(self._ours, waiting)
            self._undrained = 0

    def close(self) -> None:
        self._placeholders.close()


def _watch_elsewhere(ours: int, watch: InotifyWatch) -> int:
    """Watch again what is not on the volume: it is found by its handle on its file system."""
    device = f"{watch.device[0]}:{watch.device[1]}"
    for mount in _mounts_of(device):
        directory = os.open(mount, os.O_RDONLY | os.O_CLOEXEC)
        try:
            found = inotify.open_by_handle(directory, watch.file_handle_type, watch.file_handle)
        finally:
            os.close(directory)
        try:
            return inotify.add_watch(ours, f"/proc/self/fd/{found}", watch.mask)
        finally:
            os.close(found)
    raise FileNotFoundError(2, "its file system is not mounted here")


def _mounts_of(device: str) -> Iterable[str]:
    return [mount.path for mount in mounts() if mount.device_number == device]


def _record_of(watch: InotifyWatch) -> WatchRecord:
    return WatchRecord(
        number=watch.number,
        inode=watch.inode,
        device=watch.device,
        mask=watch.mask,
        type=watch.file_handle_type,
        handle=watch.file_handle.hex(),
    )


def _watch_of(record: WatchRecord) -> InotifyWatch:
    return InotifyWatch(
        number=record.number,
        inode=record.inode,
        device=record.device,
        mask=record.mask,
        file_handle_type=record.type,
        file_handle=bytes.fromhex(record.handle),
    )
