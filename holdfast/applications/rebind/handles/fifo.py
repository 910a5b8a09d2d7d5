"""Descriptors of FIFOs: what is in the pipe, who has which end, and who has seen the other one.

All ends of one FIFO are moved together: where one of them cannot be, none is, and their users go on
with a FIFO in memory that has no name. So do those of a FIFO that had no name before. What cannot
be kept because no call sets it: that a name was followed no further (O_NOFOLLOW).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from holdfast.applications.rebind.agent.steps import Steps
from holdfast.applications.rebind.handles.base import DescriptorDriver
from holdfast.applications.rebind.handles.descriptors import rebind_descriptors, replace_descriptors
from holdfast.applications.rebind.handles.epoll import Registrations, register_again
from holdfast.applications.rebind.handles.process_traits import ProcessTraits
from holdfast.applications.rebind.handles.rings import PIPES, refuse_requests
from holdfast.applications.rebind.handles.signals import (
    give_owners,
    owner_and_signal,
    tell_by_signal,
)
from holdfast.applications.rebind.handles.verdicts import blocks, moved, recreated
from holdfast.applications.rebind.opening.finding import DENIED
from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.opening.requests import (
    Expected,
    OpenedFiles,
    OpenRequest,
    PipeEnd,
)
from holdfast.applications.rebind.parking.notes import FifoDetails, HandleNote
from holdfast.applications.rebind.parking.parked_nodes import is_parked, keep
from holdfast.applications.rebind.parking.parked_pipes import pipe_of
from holdfast.applications.rebind.parking.placeholders import Placeholders
from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
from holdfast.applications.rebind.tracing.errors import gone
from holdfast.model.handle import Handle, HandleOutcome, JudgedHandle
from holdfast.system.files.fifo import (
    SET_AFTERWARDS,
    capacity_bytes,
    is_hung_up,
    unread_bytes,
)


class FifoDriver(DescriptorDriver):
    """Descriptors of FIFOs."""

    expected = Expected.FIFO

    def judge(self, handle: Handle, facts: ProcessTraits) -> JudgedHandle:
        """Movable; one without a name stays in memory from then on."""
        if not handle.deleted:
            return moved(handle, facts)
        if handle.locks:
            return blocks(handle, "it has no name any more, and is locked")
        return recreated(handle, "has no name any more: it is in memory from then on")

    def examine(
        self, process: StoppedProcess, handles: Sequence[Handle], directory: Path
    ) -> list[dict[str, Any]]:
        """Find out what the pipe is like, by calls that no storage is asked for. Raises Blocked
        where a request that nobody can make again may wait for it."""
        refuse_requests(process, f"FIFO {handles[0].path}", PIPES)
        registrations = Registrations(process)
        return [self._examine(process, handle, registrations) for handle in handles]

    def _examine(
        self, process: StoppedProcess, handle: Handle, registrations: Registrations
    ) -> dict[str, Any]:
        with process.copy_of(handle) as copy:
            return {
                "capacity_bytes": capacity_bytes(copy),
                "unread_bytes": unread_bytes(copy),
                "hung_up": handle.mode == "r" and is_hung_up(copy),
                "interests": registrations.of(handle),
                **owner_and_signal(process, handle, copy),
            }

    def park(
        self, process: StoppedProcess, notes: Sequence[HandleNote], placeholders: Placeholders
    ) -> Steps[None]:
        """Each description becomes one of the FIFO in memory, with the same flags."""
        if any(note.details.key not in placeholders.ends for note in notes):
            raise gone(process.pid)
        yield from replace_descriptors(process, notes, placeholders.ends)
        register_again(process, notes)

    def requests(self, note: HandleNote) -> list[OpenRequest]:
        """One for each description, also of a FIFO without a name: if this is undone before its
        file system went, it may be there (see reopening)."""
        details = note.details_as(FifoDetails)
        end = PipeEnd(pipe_of(note), details.capacity_bytes, details.unread_bytes, details.hung_up)
        return [self._request(note, pipe=end)]

    def rebind(
        self,
        process: StoppedProcess,
        notes: Sequence[HandleNote],
        openings: OpenedFiles,
        directory: Path,
    ) -> Steps[list[ReboundHandle]]:
        """All numbers become duplicates of what was opened for them, or stay what they are."""
        lines: list[ReboundHandle] = []
        opened = [note for note in notes if _is_opened(note, openings)]
        lines += yield from rebind_descriptors(process, opened, openings)
        for note in notes:
            if not _is_opened(note, openings):
                keep(process, note)
                lines.append(_kept(note, openings))
        for note in give_owners(process, notes, openings):
            tell_by_signal(process, note, SET_AFTERWARDS)
        register_again(process, notes)
        return lines

    def is_parked(self, process: StoppedProcess, note: HandleNote) -> bool:
        return is_parked(process, note)

    def _placeholder(self, placeholders: Placeholders) -> int:
        raise AssertionError("each description has its own")


def _is_opened(note: HandleNote, openings: OpenedFiles) -> bool:
    result = openings.opened.get(note.details.key)
    return result is not None and result.descriptor is not None


def _kept(note: HandleNote, openings: OpenedFiles) -> ReboundHandle:
    result, was = openings.opened.get(note.details.key), note.details.was
    is_nameless = note.handle.deleted and (was is None or was.links == 0)
    if result is None or is_nameless:
        if not note.handle.locks:
            return ReboundHandle(note.handle, HandleOutcome.IDENTICAL)
        words = "its name went while it was locked: nobody has the lock now"
        return ReboundHandle(note.handle, HandleOutcome.LOST, words)
    if result.note == DENIED:
        return ReboundHandle(note.handle, HandleOutcome.FILE_MISSING, DENIED)
    words = f"goes on without a name among those who have it open: {result.note}"
    lost = note.handle.locks or result.outcome is HandleOutcome.LOST
    return ReboundHandle(
        note.handle, HandleOutcome.LOST if lost else HandleOutcome.ROLLED_BACK, words
    )
