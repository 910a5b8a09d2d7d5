"""Descriptors on their way: what who stands has sent through another socket, and nobody received.

One of them may be of a connection that is to give way to another one: whoever receives it would
have the old one. No call says which descriptors lie in a queue; how many, fdinfo of the receiving
socket does. Changes nothing. Not seen: what was sent by a socket that is closed, or not connected.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial

from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
from holdfast.applications.tasks import thread_ids
from holdfast.errors import Blocked
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.files import bound_socket
from holdfast.system.files.unix_sockets import other_ends
from holdfast.system.files.unread_messages import has_descriptors, is_sent_unread
from holdfast.system.mounts.namespace import enter_network_namespace
from holdfast.system.proc import link, names
from holdfast.system.processes.kcmp import Shared, is_shared

_SECONDS = 5.0
"""For a look at all descriptors of the host, some µs each."""


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
    for thread_id, folder in _tables(process.pid):
        for name in names(f"{folder}/fd"):
            with suppress(OSError):
                where = link(f"{folder}/fd/{name}")
                if not where.startswith("socket:[") or int(where[len("socket:[") : -1]) in moved:
                    continue
                copy = process.tracee.channel(thread_id).take(int(name))
                if is_sent_unread(copy):
                    yield copy
                else:
                    os.close(copy)


def _tables(pid: int) -> Iterator[tuple[int | None, str]]:
    """Each table of descriptors of a process: a thread that uses it (None: the main one), and its
    folder. Some come twice, where threads that have one of their own share that."""
    found: list[int] = []
    for thread_id in thread_ids(pid):
        with suppress(OSError):
            known = (found[0], found[-1]) if found else ()
            if not any(is_shared(Shared.DESCRIPTORS, thread_id, each) for each in known):
                found.append(thread_id)
                yield None if thread_id == pid else thread_id, f"/proc/{pid}/task/{thread_id}"


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
    for _, folder in _tables(int(pid)):
        with suppress(OSError):
            for name in names(f"{folder}/fd"):
                with suppress(OSError):
                    place = wanted.get(link(f"{folder}/fd/{name}"))
                    if place is not None and has_descriptors(f"{folder}/fdinfo/{name}"):
                        return place
    return None
