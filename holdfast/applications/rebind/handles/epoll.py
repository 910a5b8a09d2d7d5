"""What epoll instances wait for: registrations of a descriptor whose description is replaced.

A registration belongs to a number and a description; when the description goes, so does it. One
whose number leads to another description by now (closed, while a duplicate lives on) is not found.
"""

from __future__ import annotations

import errno
import os
import re
import struct
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from functools import cmp_to_key, partial
from itertools import count

from holdfast.applications.rebind.agent.batch import MOST_CALLS
from holdfast.applications.rebind.parking.notes import AwaitedDetails, HandleNote, Registration
from holdfast.applications.rebind.parking.stopped_process import StoppedProcess, by_thread
from holdfast.model.handle import Handle
from holdfast.system.proc import link, names, read
from holdfast.system.processes.kcmp import Shared, order, waits_for

_INTEREST = re.compile(
    rb"^tfd:\s*(\d+)\s+events:\s*([0-9a-f]+)\s+data:\s*([0-9a-f]+)", re.MULTILINE
)
_INSTANCE = "anon_inode:[eventpoll]"
_EPOLL_CTL_ADD = 1
_EVENT = struct.Struct("=IQ")
"""struct epoll_event is packed on x86-64 (include/uapi/linux/eventpoll.h)."""

_Candidate = tuple[int, Registration]
"""Which of those of this number, in this instance, and what it would be."""


class Registrations:
    """Those of all descriptors of a process. Each table is looked through once, when it is asked
    for: there may be thousands of descriptors, and of registrations."""

    def __init__(self, process: StoppedProcess) -> None:
        self._process = process
        self._tables: dict[int | None, dict[int, list[_Candidate]]] = {}

    def of(self, handle: Handle) -> tuple[Registration, ...]:
        """Those of this descriptor with epoll instances of the same process, each once."""
        thread_id = handle.thread_id
        if thread_id not in self._tables:
            self._tables[thread_id] = self._look(thread_id)
        task = thread_id or self._process.pid
        found = []
        for place, each in self._tables[thread_id].get(handle.number or 0, ()):
            with suppress(FileNotFoundError):
                if waits_for(task, each.instance, each.number, place):
                    found.append(each)
        return tuple(found)

    def _look(self, thread_id: int | None) -> dict[int, list[_Candidate]]:
        folder, task = self._process.folder(thread_id), thread_id or self._process.pid
        found: dict[int, list[_Candidate]] = {}
        for instance in _instances(folder, task):
            places: Counter[int] = Counter()
            for words in _INTEREST.findall(read(f"{folder}/fdinfo/{instance}")):
                number, events, data = int(words[0]), int(words[1], 16), int(words[2], 16)
                each = Registration(instance, number, events, data)
                found.setdefault(number, []).append((places[number], each))
                places[number] += 1
        return found


def _instances(folder: str, task: int) -> list[int]:
    """Descriptors of epoll instances, one of each."""
    numbers = [int(name) for name in names(f"{folder}/fd") if _is_instance(f"{folder}/fd/{name}")]
    compare = partial(order, Shared.FILE, task, task)
    ordered = sorted(numbers, key=cmp_to_key(compare))
    return [
        number
        for place, number in enumerate(ordered)
        if place == 0 or compare(ordered[place - 1], number) != 0
    ]


def _is_instance(path: str) -> bool:
    with suppress(OSError):
        return link(path) == _INSTANCE
    return False


def register_again(process: StoppedProcess, notes: Sequence[HandleNote]) -> None:
    """Register what these notes are of as it was; its registrations went with the description
    before. Raises OSError."""
    for thread_id, mine in by_thread(notes).items():
        interests = [each for note in mine for each in note.details_as(AwaitedDetails).interests]
        add_again(process, interests, thread_id)


def add_again(
    process: StoppedProcess, registrations: Sequence[Registration], thread_id: int | None
) -> None:
    """Register descriptors as they were, those that are not. Raises OSError."""
    tracee = process.tracee
    for begin in range(0, len(registrations), MOST_CALLS):
        part = registrations[begin : begin + MOST_CALLS]
        tracee.write(tracee.scratch, b"".join(_EVENT.pack(each.events, each.data) for each in part))
        calls = [
            ("epoll_ctl", (each.instance, _EPOLL_CTL_ADD, each.number, tracee.scratch + offset))
            for each, offset in zip(part, count(0, _EVENT.size), strict=False)
        ]
        for result in tracee.call_many(calls, thread_id):
            if result < 0 and result != -errno.EEXIST:
                raise OSError(-result, os.strerror(-result), f"/proc/{process.pid}")
