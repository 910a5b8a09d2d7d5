"""Puts descriptors in the places of others inside a process.

All handles with the same key get the same open file description, which is passed into each process
once. Descriptors are replaced with dup3(2), which leaves no instant in which a number is free.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

from holdfast.applications.rebind.agent.batch import Call, closing
from holdfast.applications.rebind.agent.steps import Steps
from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.opening.requests import OpenedFiles
from holdfast.applications.rebind.parking.notes import HandleNote
from holdfast.applications.rebind.parking.stopped_process import StoppedProcess, by_thread

_AT_ONCE = 200
"""A process near its limit of descriptors must have room for so many more, or gets one by one."""


def park_descriptors(
    process: StoppedProcess, notes: Sequence[HandleNote], placeholder: int
) -> Steps[None]:
    """Let all these numbers be duplicates of the placeholder."""
    for thread_id, mine in by_thread(notes).items():
        yield from _put(process, thread_id, placeholder, mine)


def rebind_descriptors(
    process: StoppedProcess, notes: Sequence[HandleNote], openings: OpenedFiles
) -> Steps[list[ReboundHandle]]:
    """Let these numbers be duplicates of what was opened for them."""
    opened: dict[str, int] = {}
    for note in notes:
        descriptor = openings[note.details.key].descriptor
        if descriptor is not None:
            opened[note.details.key] = descriptor
    yield from replace_descriptors(process, notes, opened)
    return [_outcome(note, openings) for note in notes]


def replace_descriptors(
    process: StoppedProcess, notes: Sequence[HandleNote], descriptors: Mapping[str, int]
) -> Steps[None]:
    """Let these numbers be duplicates of descriptors of ours, by key; those without one stay."""
    for thread_id, mine in by_thread(notes).items():
        by_key: dict[str, list[HandleNote]] = {}
        for note in mine:
            if note.details.key in descriptors:
                by_key.setdefault(note.details.key, []).append(note)
        for keys in _portions(list(by_key)):
            pairs = [(descriptors[key], by_key[key]) for key in keys]
            yield from _put_each(process, thread_id, pairs)


def _outcome(note: HandleNote, openings: OpenedFiles) -> ReboundHandle:
    opened = openings[note.details.key]
    return ReboundHandle(note.handle, opened.outcome, opened.note)


def _put_each(
    process: StoppedProcess,
    thread_id: int | None,
    pairs: Sequence[tuple[int, Sequence[HandleNote]]],
) -> Steps[None]:
    channel = process.tracee.channel(thread_id)
    try:
        numbers = yield from channel.giving([descriptor for descriptor, _ in pairs])
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
        for descriptor, notes in pairs:
            yield from _put(process, thread_id, descriptor, notes)
        return
    calls = [
        _dup3(number, note)
        for number, (_, notes) in zip(numbers, pairs, strict=True)
        for note in notes
    ]
    yield from _duplicate(process, thread_id, calls, numbers)


def _put(
    process: StoppedProcess, thread_id: int | None, descriptor: int, notes: Sequence[HandleNote]
) -> Steps[None]:
    """Let these numbers be duplicates of one descriptor of ours."""
    channel = process.tracee.channel(thread_id)
    first = notes[0].handle.number
    try:
        (number,) = yield from channel.giving([descriptor])
    except OSError as error:
        if error.errno != errno.EMFILE or first is None:
            raise
        # No number is free: one of those to be replaced anyway is made free for a moment.
        process.tracee.call("close", first, thread_id=thread_id)
        number = channel.give([descriptor])[0]
        if number == first:
            _set_close_on_exec(process, thread_id, notes[0])
            calls = [_dup3(number, note) for note in notes[1:]]
            yield from _duplicate(process, thread_id, calls, [])
            return
    calls = [_dup3(number, note) for note in notes]
    yield from _duplicate(process, thread_id, calls, [number])


def _dup3(number: int, note: HandleNote) -> Call:
    assert note.handle.number is not None
    return "dup3", (number, note.handle.number, note.handle.flags & os.O_CLOEXEC)


def _duplicate(
    process: StoppedProcess, thread_id: int | None, calls: Sequence[Call], numbers: Iterable[int]
) -> Steps[None]:
    """Make these calls, then close the numbers: what close(2) says of that is of no interest."""
    results = yield from process.tracee.calling_many([*calls, *closing(numbers)], thread_id)
    for result in results[: len(calls)]:
        if result < 0:
            raise OSError(-result, os.strerror(-result), f"/proc/{process.pid}")


def _set_close_on_exec(process: StoppedProcess, thread_id: int | None, note: HandleNote) -> None:
    flags = 1 if note.handle.flags & os.O_CLOEXEC else 0  # FD_CLOEXEC
    assert note.handle.number is not None
    process.tracee.call("fcntl", note.handle.number, 2, flags, thread_id=thread_id)  # F_SETFD


def _portions(keys: list[str]) -> Iterator[list[str]]:
    for begin in range(0, len(keys), _AT_ONCE):
        yield keys[begin : begin + _AT_ONCE]
