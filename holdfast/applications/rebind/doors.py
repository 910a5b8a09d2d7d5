"""Keeps connections from being lost with the socket that they wait in.

A connection that waits to be accepted belongs to the old inode: it can neither be moved nor may it
be forgotten. Who connects need not use the volume, and runs on while its users stand. So as soon as
they stand, the queue of every socket that listens is filled with connections of ours, which are
closed already. From then on nobody's connect(2) succeeds: it waits until the queue has room or the
socket is gone, and looks its name up again then; EAGAIN, where it must not wait. If somebody else's
connection is in a queue, all users have to go on and accept it. Invariant: when users go on without
having been moved, the queues hold nothing of ours; when we die, what they accept has ended. Needs
no record, therefore.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial

from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.errors import Blocked
from holdfast.late_dataclass import dataclass
from holdfast.model.handle import Handle, HandleKind, User
from holdfast.system.children.closing import close_elsewhere
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.files import bound_socket
from holdfast.system.files.unix_sockets import bound_sockets
from holdfast.system.mounts.namespace import enter_network_namespace
from holdfast.system.proc import link, names
from holdfast.system.processes.process import close_quietly, copy_descriptor
from holdfast.system.processes.process_state import children_of

_SECONDS = 5.0
"""Some thousand connections take a few hundredths of a second."""

_OURS_ALONE = (errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
"""Why we might not connect while others can."""

_ENDED = {
    HandleKind.SOCKET: "connections that nobody had accepted have ended",
    HandleKind.SENDER: "datagrams that it had not received yet are lost",
}

_LOOK_SECONDS = 0.001
"""Who accepts one connection does so within some tenths of a millisecond."""

_MOST = 50_000
"""Connections of ours at 10 µs each, while everybody stands."""


@dataclass(eq=False)
class _Door:
    """One socket that listens."""

    handle: Handle
    end: socket.socket
    ours: int = 0
    """Connections of ours in its queue."""
    others: int = 0


class Doors:
    """The sockets of stopped users. `close`, then `open` or `forget`."""

    def __init__(self) -> None:
        self._doors: dict[int, _Door] = {}
        """By the socket's own inode number."""
        self._standing: set[int] = set()

    def close(self, users: Sequence[User], *, is_last: bool = False) -> None:
        """Let no connection come to these any more, who are all that stand; may be called again
        when more of them do, and `is_last` when nobody runs who is known to use the volume.

        A socket that a child of theirs has, which runs, is left as it is until that stands: it
        would accept ours. Raises Blocked when their queues take too long to fill, DeadlinePassed
        when the file system of a socket does not answer.
        """
        earlier, new = set(self._doors), dict[int, _Door]()
        having: list[int] = []
        for user in users:
            listening = [each for each in user.handles if _listens(each)]
            having += [user.pid] if listening else []
            for handle in listening:
                end = _taken(handle)
                if end is None:
                    continue
                number = os.fstat(end.fileno()).st_ino
                known = self._doors.setdefault(number, _Door(handle, end))
                if known.end is end:
                    new[number] = known
                    continue
                end.close()
                if number in earlier and user.pid not in self._standing:
                    known.others = 1  # it ran when the queue was filled, and may have accepted
        self._standing = {user.pid for user in users}
        for number in _held_by_children(having, self._standing, new):
            door = new.pop(number)
            door.others = 1  # until it stands, whatever is there may come
            if not is_last:
                self._doors.pop(number).end.close()
        self._fill(list(new.values()))

    def _fill(self, new: Sequence[_Door]) -> None:
        if new:
            work = partial(_fill_all, [each.end for each in new], [each.handle for each in new])
            counts = in_expendable_child(work, _SECONDS, "a socket's file system")
            for door, (ours, others) in zip(new, counts, strict=True):
                door.ours, door.others = ours, others

    @property
    def waiting(self) -> list[Handle]:
        """The sockets in which somebody's connection waits."""
        return [door.handle for door in self._doors.values() if door.others]

    def open(self) -> None:
        """Take out what we put in, so that all is as it was; all must stand still.

        Where others came in between, nothing is taken out: which one comes first cannot be told,
        and theirs must not be lost. Idempotent."""
        for door in self._doors.values():
            if not door.others:
                _take_out(door.end, door.ours)
        self.forget()

    def forget(self) -> None:
        """Let go of the sockets. Idempotent."""
        self._standing.clear()
        doors = list(self._doors.values())
        self._doors.clear()
        close_elsewhere([door.end for door in doors if door.others])
        for door in doors:
            door.end.close()


@contextmanager
def received(waiting: Sequence[Handle]) -> Iterator[Callable[[float], bool]]:
    """Begin while all stand who have these sockets; called when they run, with how long in seconds,
    it waits until nothing waits there any more, and tells whether that is so."""
    with ExitStack() as stack:
        ends = [end for each in waiting if (end := _taken(each)) is not None]
        stack.callback(close_elsewhere, ends)

        def are_received(seconds: float) -> bool:
            deadline = time.monotonic() + seconds
            while is_waiting := any(map(_is_readable, ends)):
                if time.monotonic() > deadline:
                    break
                time.sleep(_LOOK_SECONDS)
            return not is_waiting

        yield are_received


def with_answers(users: Sequence[User]) -> list[Handle]:
    """The sockets of these, who stand, in which something waits, and which are to be connected
    again: that throws it away (connect(2) of a datagram socket)."""
    found = []
    for user in users:
        for handle in user.handles:
            end = _taken(handle) if handle.kind is HandleKind.SENDER else None
            if end is not None:
                with end:
                    if _is_readable(end):
                        found.append(handle)
    return found


def refusal(waiting: Sequence[Handle]) -> Blocked:
    """What is raised when connections were waiting each time."""
    first = waiting[0]
    if first.kind is HandleKind.SENDER:
        return Blocked(
            f"process {first.pid}: a socket that is connected to {first.path}: datagrams wait in it"
            " that it has not received yet, and would be lost",
            "Let the process receive them, or end it; then try again.",
        )
    return Blocked(
        f"process {first.pid}: socket {first.path}: connections wait in it that nobody has accepted"
        " yet, and would be lost",
        "Let the process accept them, or try again when fewer come.",
    )


def with_lost(lines: Sequence[ReboundHandle], waiting: Sequence[Handle]) -> list[ReboundHandle]:
    """The same outcomes, which say in which sockets something waited that is lost."""
    sockets = {(each.kind, each.mount_id, each.inode) for each in waiting}
    return [
        replace(line, note="; ".join(filter(None, (line.note, _ENDED[line.handle.kind]))))
        if (line.handle.kind, line.handle.mount_id, line.handle.inode) in sockets
        else line
        for line in lines
    ]


def _listens(handle: Handle) -> bool:
    return handle.kind is HandleKind.SOCKET and handle.mode == "listening"


def _held_by_children(
    pids: Sequence[int], standing: Collection[int], sockets: Collection[int]
) -> set[int]:
    """Which of these sockets, by number, children of these processes have who do not stand."""
    wanted = {f"socket:[{number}]": number for number in sockets}
    running = {child for pid in pids for child in children_of(pid)} - set(standing)
    found = set[int]()
    for child in running if wanted else ():
        with suppress(OSError):
            for name in names(f"/proc/{child}/fd"):
                with suppress(OSError):
                    found.add(wanted.get(link(f"/proc/{child}/fd/{name}"), 0))
    return found - {0}


def _taken(handle: Handle) -> socket.socket | None:
    """A copy of a socket; None when it has been closed. Raises OSError when we have no room."""
    try:
        copy = copy_descriptor(handle.thread_id or handle.pid, handle.number or 0)
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.EBADF):
            return None
        raise
    try:
        return socket.socket(fileno=copy)
    except OSError:  # something else has the number by now
        close_quietly(copy)
        return None


def _is_readable(end: socket.socket) -> bool:
    poller = select.poll()
    poller.register(end, select.POLLIN)
    return bool(poller.poll(0))


def _take_out(end: socket.socket, count: int) -> None:
    poller = select.poll()
    poller.register(end, select.POLLIN)
    with suppress(OSError):
        for _ in range(count):
            if not poller.poll(0):
                return
            end.accept()[0].close()


def _fill_all(ends: Sequence[socket.socket], handles: Sequence[Handle]) -> list[tuple[int, int]]:
    """Of each how many connections are ours and others'; runs in an expendable child."""
    backlogs = _backlogs(ends)
    sizes = [0 if backlog is None else backlog + 1 for backlog in backlogs]
    if sum(sizes) > _MOST:
        first = handles[sizes.index(max(sizes))]
        raise Blocked(
            f"process {first.pid}: socket {first.path}: {sum(sizes)} connections may wait in"
            " sockets of the volume, which takes too long to keep out",
            "Let it listen with a smaller backlog (listen(2), net.core.somaxconn).",
        )
    return [
        _fill(end, backlog) if backlog is not None else (0, 0)
        for end, backlog in zip(ends, backlogs, strict=True)
    ]


def _backlogs(ends: Sequence[socket.socket]) -> list[int | None]:
    """How many connections may wait, but one; None: it does not listen (any more)."""
    found: dict[int, dict[int, int]] = {}
    backlogs = []
    for end in ends:
        network = bound_socket.network_of(end.fileno())
        if network not in found:
            way = bound_socket.open_network_of(end.fileno())
            enter_network_namespace(way)
            os.close(way)
            found[network] = {
                each.inode: each.backlog for each in bound_sockets() if each.listening
            }
        backlogs.append(found[network].get(os.fstat(end.fileno()).st_ino))
    return backlogs


def _fill(end: socket.socket, backlog: int) -> tuple[int, int]:
    poller = select.poll()
    poller.register(end, select.POLLIN)
    if poller.poll(0):
        return 0, 1
    place = bound_socket.file_of(end.fileno())
    ours = 0
    try:
        while ours <= backlog and _connects(f"/proc/self/fd/{place}", end.type):
            ours += 1
    except OSError as error:
        if error.errno in _OURS_ALONE:
            raise
        return ours, 0  # it was shut down, or its file system is dead: nobody can connect
    finally:
        os.close(place)
    return ours, backlog + 1 - ours


def _connects(path: str, kind: int) -> bool:
    """Connect, and close that end at once; False when there is no room."""
    with socket.socket(socket.AF_UNIX, kind | socket.SOCK_NONBLOCK) as ours:
        try:
            ours.connect(path)
        except BlockingIOError:
            return False
    return True
