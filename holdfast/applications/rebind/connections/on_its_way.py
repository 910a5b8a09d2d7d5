"""Descriptors on their way: what who stands has sent through another socket, and nobody received.

One of them may be of a connection that is to give way to another one: whoever receives it would
have the old one. No call says which descriptors lie in a queue; how many, fdinfo of the receiving
socket does. Changes nothing. Not seen: what was sent by a socket that is closed, or not connected.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial

from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
from holdfast.errors import Blocked
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.files import bound_socket
from holdfast.system.files.unix_sockets import other_ends
from holdfast.system.files.unread_messages import is_sent_unread
from holdfast.system.mounts.namespace import enter_network_namespace
from holdfast.system.proc import link, names, read_record

_SECONDS = 5.0
"""For a look at all descriptors of the host, some µs each."""
_COUNT = re.compile(rb"^scm_fds:\s*0*[1-9]", re.MULTILINE)


def refuse_on_its_way(processes: Sequence[StoppedProcess], moved: Collection[int]) -> None:
    """Raise Blocked when descriptors may be on their way that one of these has sent.

    `moved`: the sockets whose queues are looked into anyway. Raises OSError."""
    with ExitStack() as stack:
        senders: list[tuple[StoppedProcess, int]] = []
        for process in processes:
            for copy in _unread(process, moved):
                stack.callback(os.close, copy)
                senders.append((process, copy))
        if not senders:
            return
        work = partial(_first_that_carries, [copy for _, copy in senders])
        found = in_expendable_child(work, _SECONDS, "/proc")
    if found is not None:
        raise Blocked(
            f"{senders[found][0].in_words} has sent descriptors that nobody has received yet: one"
            " may be of a connection that would be moved",
            "Let them be received, or end the process; then try again.",
        )


def _unread(process: StoppedProcess, moved: Collection[int]) -> Iterator[int]:
    """Copies of its sockets of which something that was sent has not been received."""
    folder = f"/proc/{process.pid}/fd"
    for name in names(folder):
        with suppress(OSError):
            where = link(f"{folder}/{name}")
            if not where.startswith("socket:[") or int(where[len("socket:[") : -1]) in moved:
                continue
            copy = process.tracee.take(int(name))
            if is_sent_unread(copy):
                yield copy
            else:
                os.close(copy)


def _first_that_carries(copies: Sequence[int]) -> int | None:
    """Runs in an expendable child."""
    receivers: dict[int, int] = {}
    ends: dict[int, Mapping[int, int]] = {}
    for place, copy in enumerate(copies):
        network = bound_socket.network_of(copy)
        if network not in ends:
            way = bound_socket.open_network_of(copy)
            enter_network_namespace(way)
            os.close(way)
            ends[network] = other_ends()
        receivers.setdefault(ends[network].get(os.fstat(copy).st_ino, 0), place)
    wanted = {f"socket:[{number}]": place for number, place in receivers.items() if number}
    for pid in names("/proc"):
        if pid.isdigit() and wanted:
            found = _carried_in(pid, wanted)
            if found is not None:
                return found
    return None


def _carried_in(pid: str, wanted: Mapping[str, int]) -> int | None:
    with suppress(OSError):
        for name in names(f"/proc/{pid}/fd"):
            with suppress(OSError):
                place = wanted.get(link(f"/proc/{pid}/fd/{name}"))
                if place is not None and _COUNT.search(read_record(f"/proc/{pid}/fdinfo/{name}")):
                    return place
    return None
