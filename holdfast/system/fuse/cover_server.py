"""The processes that answer for covers: two, so that the death of one of them changes nothing.

Both hold the connections, and both answer once they are told to; the kernel gives each request to
one of them. What one of them had read when it was killed is sent again (Linux 6.9; before, who
asked is answered ENOTCONN when the last cover goes). Invariant: nothing is taken away but covers of
this very name, and never with something that is mounted on one. Both dead at once: who waits gets
an error (ECONNABORTED, ENOTCONN).
"""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from holdfast.errors import HoldfastError
from holdfast.late_dataclass import dataclass
from holdfast.system.fuse import wire
from holdfast.system.mounts import mount_api
from holdfast.system.mounts.mount_table import MNT_DETACH, Mount
from holdfast.system.mounts.namespace import enter_mount_namespace, open_namespace
from holdfast.system.mounts.visitor import Visitor, has_foreign_owner
from holdfast.system.processes.process_state import lives, start_time
from holdfast.system.resources.memory import never_kill_for_memory

SUBTYPE = "holdfast-cover"
FILE_SYSTEM = f"fuse.{SUBTYPE}"
"""As the mount table calls it."""

BUFFER_BYTES = wire.MAXIMUM_TRANSFER_BYTES + 4096
"""What /dev/fuse wants to be offered: the largest write and its headers."""

_ENDED = select.POLLERR | select.POLLHUP | select.POLLNVAL


@dataclass(frozen=True)
class CoverServer:
    """The two processes that answer for covers, and what tells these from others."""

    pid: int
    started: int
    """Field 22 of /proc/PID/stat: tells a number that was used again."""
    twin_pid: int = 0
    """0: there is none (a record of an earlier version)."""
    twin_started: int = 0
    name: str = ""
    """What the mount table says is mounted, of the covers."""
    oldest_mount: int = 0
    """`number_for_ever` of a cover: every mount that was made later has a greater one. 0: not
    known."""


def is_cover(mount: Mount) -> bool:
    """Whether a line of the mount table is a cover, made by root."""
    return mount.filesystem == FILE_SYSTEM and "user_id=0" in mount.super_options.split(",")


def release(server: CoverServer) -> None:
    """Let everybody who waits walk again. Idempotent; does not wait for them."""
    for pid, started in ((server.pid, server.started), (server.twin_pid, server.twin_started)):
        if pid and lives(pid, started):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


def start_server(connections: Sequence[int], deadline_ns: int, name: str) -> CoverServer:
    """Processes that nobody waits for; SIGTERM is kept for them until they listen.

    Raises HoldfastError when they could not be started; then those that were end with the covers.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        child = os.fork()
        if child == 0:
            _fork_again(connections, deadline_ns, name, writing)
    finally:
        os.close(writing)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    with open(reading, "rb") as stream:
        pids = [int(word) for word in stream.read().split()]
    os.waitpid(child, 0)
    if len(pids) != 2:
        raise HoldfastError("the server of a cover could not be started", "Try again.")
    first, second = pids
    return CoverServer(first, start_time(first), second, start_time(second), name)


def _fork_again(connections: Sequence[int], deadline_ns: int, name: str, writing: int) -> NoReturn:
    try:
        ends = socket.socketpair()
        for mine, other in (ends, ends[::-1]):
            pid = os.fork()
            if pid == 0:
                other.close()
                os.setsid()
                _leave_everything_but({*connections, mine.fileno()})
                _serve(connections, deadline_ns, name, mine)
                os._exit(0)
            os.write(writing, b"%d " % pid)
    finally:
        os._exit(0)


def _leave_everything_but(kept: set[int]) -> None:
    """Locks, pipes and terminals of whoever forked us are not ours to keep."""
    os.chdir("/")
    last = -1
    for descriptor in sorted(kept):
        os.closerange(last + 1, descriptor)
        last = descriptor
    os.closerange(last + 1, os.sysconf("SC_OPEN_MAX"))
    nothing = os.open("/dev/null", os.O_RDWR)
    for number in range(3):
        if number not in kept and number != nothing:
            os.dup2(nothing, number)


def _serve(connections: Sequence[int], deadline_ns: int, name: str, twin: socket.socket) -> None:
    """Hold until released or the deadline, then answer, until both covers are gone."""
    with suppress(OSError):
        never_kill_for_memory()
    home = _go_home()
    visitor = Visitor()
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    poller = select.poll()
    poller.register(ours, select.POLLIN)
    poller.register(twin, 0)
    for connection in connections:
        os.set_blocking(connection, False)  # who asked may be killed before we have read it
        poller.register(connection, 0)
    left = set(connections)
    answer, is_alone, is_sent_again = 0, False, False
    while left:
        timeout = None
        if not answer:
            timeout = max(0, deadline_ns - time.clock_gettime_ns(time.CLOCK_MONOTONIC)) // 10**6 + 1
        events = poller.poll(timeout)
        for descriptor, event in events:
            if descriptor == ours.fileno():
                ours.recv(64)
                answer = errno.ESTALE
            elif descriptor == twin.fileno():
                poller.unregister(twin)
                is_alone = True
            elif event & _ENDED:
                poller.unregister(descriptor)
                left.discard(descriptor)
            elif event & select.POLLIN:
                _answer(descriptor, answer, name, visitor, home)
        if not events:
            answer = errno.EIO
        if answer:
            for connection in left:
                poller.modify(connection, select.POLLIN)
        if answer and is_alone and not is_sent_again:
            is_sent_again = True
            for connection in left:
                with suppress(OSError):  # it ends just now, or the kernel cannot
                    os.write(connection, wire.NOTIFY_RESEND)


def _go_home() -> int:
    """Enter the first process's mount namespace: ours would live as long as we do."""
    with suppress(OSError):
        enter_mount_namespace(1)
    return open_namespace(os.getpid(), "mnt")


def _answer(connection: int, number: int, name: str, visitor: Visitor, home: int) -> None:
    with suppress(OSError):
        request = os.read(connection, BUFFER_BYTES)
        _, opcode, unique, _, _, _, pid, *_ = wire.IN_HEADER.unpack_from(request)
        if number == errno.ESTALE and pid:
            _uncover(pid, name, visitor, home)
        if opcode not in wire.NO_REPLY:
            os.write(connection, wire.OUT_HEADER.pack(wire.OUT_HEADER.size, -number, unique))


def _uncover(pid: int, name: str, visitor: Visitor, home: int) -> None:
    """Released, and still in the way of somebody: what lay over it was taken away since.

    A namespace of another user namespace is a stranger's: what a path leads through there may wait
    for him. Nothing is taken away from it, and his own answer is all that he gets.
    """
    namespace = -1
    try:
        namespace = open_namespace(pid, "mnt")
        if has_foreign_owner(namespace):
            return
        visitor.enter(namespace)
        table = visitor.mounts()
        for mount in table:
            if mount.source == name and is_cover(mount):
                with suppress(OSError):
                    take_away(visitor, mount, table)
    except OSError:
        return
    finally:
        if namespace >= 0:
            os.close(namespace)
        visitor.enter(home)


def take_away(visitor: Visitor, cover: Mount, table: Sequence[Mount]) -> None:
    """Detach a cover, where it is the topmost at its path: one that lies below a mount stays.

    The visitor is in its namespace, of which `table` has all mounts. Raises OSError.
    """
    if any(each.parent == cover.identifier for each in table):
        return
    spot = mount_api.open_place(cover.path)
    try:
        if visitor.mount_number(spot) == cover.identifier:
            visitor.dismount_exactly(spot, MNT_DETACH)
    finally:
        os.close(spot)
