"""What epoll instances wait for: registrations of a descriptor whose description is replaced.

A registration belongs to a number and a description; when the description goes, so does it. One
whose number leads to another description by now (closed, while a duplicate lives on) is not found.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from contextlib import suppress

from holdfast.applications.rebind.parking.notes import Registration
from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
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


def interests(process: StoppedProcess, handle: Handle) -> list[Registration]:
    """Registrations of this descriptor with epoll instances of the same process, each once."""
    folder = process.folder(handle.thread_id)
    task = handle.thread_id or process.pid
    found: list[Registration] = []
    for name in names(f"{folder}/fd"):
        with suppress(FileNotFoundError):
            if link(f"{folder}/fd/{name}") != _INSTANCE:
                continue
            if any(order(Shared.FILE, task, task, int(name), each.instance) == 0 for each in found):
                continue
            lines = _INTEREST.findall(read(f"{folder}/fdinfo/{name}"))
            mine = [line for line in lines if int(line[0]) == handle.number]
            for place, (number, events, data) in enumerate(mine):
                if waits_for(task, int(name), int(number), place):
                    found.append(
                        Registration(int(name), int(number), int(events, 16), int(data, 16))
                    )
    return found


def add_again(
    process: StoppedProcess, registrations: Sequence[Registration], thread_id: int | None
) -> None:
    """Register the descriptor as it was. Raises OSError."""
    tracee = process.tracee
    for each in registrations:
        tracee.write(tracee.scratch, _EVENT.pack(each.events, each.data))
        with suppress(FileExistsError):
            tracee.call(
                "epoll_ctl",
                each.instance,
                _EPOLL_CTL_ADD,
                each.number,
                tracee.scratch,
                thread_id=thread_id,
            )
