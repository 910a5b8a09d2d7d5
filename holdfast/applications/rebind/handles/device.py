"""Descriptors of character devices in memory: null, zero, full, random, urandom.

Daemons in a root of their own have them open by nodes that lie there. Such a device remembers
nothing of who opened it, so to open it again means nothing to it, and one opened by any other node
is an equal one. Its place is taken by one that was opened by a node in memory; where the new file
system has no such node at its path it stays so, and works. Every other device blocks.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from holdfast.applications.rebind.agent.steps import Steps
from holdfast.applications.rebind.handles.base import DescriptorDriver
from holdfast.applications.rebind.handles.descriptors import rebind_descriptors, replace_descriptors
from holdfast.applications.rebind.handles.epoll import Registrations, register_again
from holdfast.applications.rebind.handles.process_traits import ProcessTraits
from holdfast.applications.rebind.handles.signals import (
    give_owners,
    owner_and_signal,
    tell_by_signal,
)
from holdfast.applications.rebind.handles.verdicts import blocks, moved, recreated
from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.opening.requests import Expected, OpenedFiles, OpenRequest
from holdfast.applications.rebind.parking.notes import HandleNote
from holdfast.applications.rebind.parking.parked_nodes import is_parked, keep
from holdfast.applications.rebind.parking.placeholders import Placeholders
from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
from holdfast.errors import Blocked
from holdfast.model.handle import Handle, HandleOutcome, JudgedHandle
from holdfast.system.files.beneath import path_to
from holdfast.system.statx import remembered

_FORGETFUL = frozenset(os.makedev(1, minor) for minor in (3, 5, 7, 8, 9))
"""null, zero, full, random, urandom: Documentation/admin-guide/devices.txt of Linux, and devlist of
drivers/char/mem.c. None of them keeps anything for an open file."""

_SETTABLE = os.O_APPEND | os.O_NONBLOCK | os.O_NOATIME
"""SETFL_MASK of fs/fcntl.c without what these devices refuse (O_DIRECT)."""

_OPENED_WITH = os.O_ACCMODE | os.O_SYNC | _SETTABLE


class DeviceDriver(DescriptorDriver):
    """Descriptors of devices that remember nothing."""

    expected = Expected.DEVICE

    def judge(self, handle: Handle, facts: ProcessTraits) -> JudgedHandle:
        """Movable when it is one of those."""
        if handle.number is None:
            return blocks(
                handle, "a device is mapped there: what is in that memory is nowhere else"
            )
        if handle.start not in _FORGETFUL:
            return blocks(
                handle, "opening a device again may mean something else to it than keeping it open"
            )
        if handle.deleted:
            return recreated(handle, "has no name any more: it is opened by a node in memory")
        return moved(handle, facts)

    def examine(
        self, process: StoppedProcess, handles: Sequence[Handle], directory: Path
    ) -> list[dict[str, Any]]:
        """Find out who waits for it. Raises Blocked when it is another device by now."""
        registrations = Registrations(process)
        return [self._examine(process, handle, registrations) for handle in handles]

    def _examine(
        self, process: StoppedProcess, handle: Handle, registrations: Registrations
    ) -> dict[str, Any]:
        with process.copy_of(handle) as copy:
            if os.makedev(*remembered(path_to(copy)).represents) != handle.start:
                raise Blocked(
                    f"process {handle.pid}: {handle.path} is another device by now", "Try again."
                )
            interests = registrations.of(handle)
            return {"interests": interests, **owner_and_signal(process, handle, copy)}

    def park(
        self, process: StoppedProcess, notes: Sequence[HandleNote], placeholders: Placeholders
    ) -> Steps[None]:
        """Each description becomes one of a node in memory, with the same flags."""
        for note in notes:
            handle = note.handle
            flags = handle.flags & _OPENED_WITH
            placeholders.open_device(note.details.key, handle.start, flags)
        yield from replace_descriptors(process, notes, placeholders.devices)
        register_again(process, notes)

    def requests(self, note: HandleNote) -> list[OpenRequest]:
        """One for each description, which opens this device only."""
        return [self._request(note, device=note.handle.start)]

    def rebind(
        self,
        process: StoppedProcess,
        notes: Sequence[HandleNote],
        openings: OpenedFiles,
        directory: Path,
    ) -> Steps[list[ReboundHandle]]:
        """All numbers become duplicates of what was opened for them, or stay what they are."""
        opened = [note for note in notes if openings[note.details.key].descriptor is not None]
        lines = yield from rebind_descriptors(process, opened, openings)
        for note in notes:
            if openings[note.details.key].descriptor is None:
                keep(process, note)
                lines.append(_kept(note, openings))
        for note in give_owners(process, notes, openings):
            tell_by_signal(process, note, _SETTABLE)
        register_again(process, notes)
        return lines

    def is_parked(self, process: StoppedProcess, note: HandleNote) -> bool:
        return is_parked(process, note)

    def _placeholder(self, placeholders: Placeholders) -> int:
        raise AssertionError("each description has its own")

    def _flags(self, note: HandleNote) -> int:
        """Never with O_NOFOLLOW: it would be opened by its name, which somebody may give to another
        device meanwhile."""
        return note.handle.flags & (_OPENED_WITH | os.O_CLOEXEC)


def _kept(note: HandleNote, openings: OpenedFiles) -> ReboundHandle:
    if note.handle.locks:
        words = "goes on with a node in memory: nobody has its lock now"
        return ReboundHandle(note.handle, HandleOutcome.LOST, words)
    was = note.details.was
    if note.handle.deleted and (was is None or was.links == 0):
        return ReboundHandle(note.handle, HandleOutcome.IDENTICAL)
    words = f"goes on with a node in memory: {openings[note.details.key].note}"
    return ReboundHandle(note.handle, HandleOutcome.ROLLED_BACK, words)
