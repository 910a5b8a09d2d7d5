"""A cover over a mount point whose file system is away: whoever looks below it waits.

It is a FUSE file system of which nothing but the root can be reached: requests stay in the kernel's
queue, unread, so those who wait can be killed, until `release`. Then each is answered ESTALE, and
the kernel walks that path once more from its beginning (LOOKUP_REVAL), onto what is mounted there
by then. Invariants: nothing can be made on a cover; its server outlives whoever made it, and ends
when the cover is mounted nowhere; nothing that one who waits there has made keeps the others
waiting. Must never be looked at by a process that matters: a stat(2) of its root waits like
everything else.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import stat
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from holdfast.errors import HoldfastError
from holdfast.system.fuse import wire
from holdfast.system.mounts.detached import mount_detached
from holdfast.system.mounts.mount_table import Mount
from holdfast.system.mounts.namespace import enter_mount_namespace, open_namespace
from holdfast.system.mounts.visitor import Visitor, has_foreign_owner
from holdfast.system.processes.process_state import lives, start_time

_SUBTYPE = "holdfast-cover"
FILE_SYSTEM = f"fuse.{_SUBTYPE}"
"""As the mount table calls it."""

_BUFFER_BYTES = wire.MAXIMUM_TRANSFER_BYTES + 4096
"""What /dev/fuse wants to be offered: the largest write and its headers."""

_DETACH = 2
"""MNT_DETACH of umount2(2), <linux/fs.h>."""

_ANSWER_SECONDS = 5.0
"""The kernel asks for INIT while it mounts."""


@dataclass(frozen=True)
class CoverServer:
    """The process that answers for covers."""

    pid: int
    started: int
    """Field 22 of /proc/PID/stat: tells a number that was used again."""


@dataclass(frozen=True)
class Covers:
    """Two covers that are mounted nowhere yet: descriptors (O_PATH) of their roots."""

    directory: int
    file: int
    server: CoverServer

    def close(self) -> None:
        """Close the descriptors. Mounted covers live on; if none is mounted, their server ends."""
        os.close(self.directory)
        os.close(self.file)


def is_cover(mount: Mount) -> bool:
    """Whether a line of the mount table is a cover, made by root."""
    return mount.filesystem == FILE_SYSTEM and "user_id=0" in mount.super_options.split(",")


def make_covers(deadline_ns: int) -> Covers:
    """Make a cover for directories and one for files, served from now on; caller closes.

    From `deadline_ns` (CLOCK_MONOTONIC) on those who wait get EIO. Raises HoldfastError, OSError.
    """
    connections: list[int] = []
    roots: list[int] = []
    name = f"holdfast-{uuid.uuid4().hex}"
    try:
        for kind in (stat.S_IFDIR, stat.S_IFREG):
            connections.append(wire.open_connection())
            roots.append(_mount(connections[-1], kind, name))
            _greet(connections[-1])
        server = _start_server(connections, deadline_ns, name)
    except BaseException:
        for root in roots:
            os.close(root)
        raise
    finally:
        for connection in connections:
            os.close(connection)
    directory, file = roots
    return Covers(directory, file, server)


def release(server: CoverServer) -> None:
    """Let everybody who waits walk again. Idempotent; does not wait for them."""
    if lives(server.pid, server.started):
        with suppress(ProcessLookupError):
            os.kill(server.pid, signal.SIGTERM)


def _mount(connection: int, kind: int, name: str) -> int:
    options = {
        "fd": str(connection),
        "rootmode": f"{kind:o}",
        "user_id": "0",
        "group_id": "0",
        "allow_other": "",
        # So that whoever walks through the root asks for its attributes: the kernel begins a walk
        # anew, but not the look for a name that is about to be made (mkdir, symlink, bind).
        "default_permissions": "",
        "subtype": _SUBTYPE,
    }
    return mount_detached("fuse", options, source=name)


def _greet(connection: int) -> None:
    """Answer INIT, the one request that is answered at once."""
    poller = select.poll()
    poller.register(connection, select.POLLIN)
    if not poller.poll(int(_ANSWER_SECONDS * 1000)):
        raise HoldfastError("the kernel does not begin to speak FUSE", "holdfast doctor")
    request = os.read(connection, _BUFFER_BYTES)
    _, opcode, unique, *_ = wire.IN_HEADER.unpack_from(request)
    if opcode != wire.INIT:
        raise HoldfastError(f"the kernel began to speak FUSE with {opcode}", "holdfast doctor")
    os.write(connection, wire.init_reply(unique, memoryview(request)[wire.IN_HEADER.size :]))


def _start_server(connections: Sequence[int], deadline_ns: int, name: str) -> CoverServer:
    """A process that nobody waits for; SIGTERM is kept for it until it listens."""
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
        pid = int(stream.read() or b"0")
    os.waitpid(child, 0)
    if not pid:
        raise HoldfastError("the server of a cover could not be started", "Try again.")
    return CoverServer(pid, start_time(pid))


def _fork_again(connections: Sequence[int], deadline_ns: int, name: str, writing: int) -> NoReturn:
    try:
        pid = os.fork()
        if pid == 0:
            os.setsid()
            _leave_everything_but(connections)
            _serve(connections, deadline_ns, name)
        else:
            os.write(writing, str(pid).encode())
    finally:
        os._exit(0)


def _leave_everything_but(kept: Sequence[int]) -> None:
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


def _serve(connections: Sequence[int], deadline_ns: int, name: str) -> None:
    """Hold until released or the deadline, then answer, until both covers are gone."""
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
    for connection in connections:
        os.set_blocking(connection, False)  # who asked may be killed before we have read it
        poller.register(connection, 0)
    left = set(connections)
    answer = 0
    while left:
        timeout = None
        if not answer:
            timeout = max(0, deadline_ns - time.clock_gettime_ns(time.CLOCK_MONOTONIC)) // 10**6 + 1
        events = poller.poll(timeout)
        for descriptor, event in events:
            if descriptor == ours.fileno():
                ours.recv(64)
                answer = errno.ESTALE
            elif event & (select.POLLERR | select.POLLHUP | select.POLLNVAL):
                poller.unregister(descriptor)
                left.discard(descriptor)
            elif event & select.POLLIN:
                _answer(descriptor, answer, name, visitor, home)
        if not events:
            answer = errno.EIO
        if answer:
            for connection in left:
                poller.modify(connection, select.POLLIN)


def _go_home() -> int:
    """Enter the first process's mount namespace: ours would live as long as we do."""
    with suppress(OSError):
        enter_mount_namespace(1)
    return open_namespace(os.getpid(), "mnt")


def _answer(connection: int, number: int, name: str, visitor: Visitor, home: int) -> None:
    with suppress(OSError):
        request = os.read(connection, _BUFFER_BYTES)
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
        for mount in visitor.mounts():
            if mount.source == name and is_cover(mount):
                with suppress(OSError):
                    visitor.dismount(mount.path, _DETACH)
    except OSError:
        return
    finally:
        if namespace >= 0:
            os.close(namespace)
        visitor.enter(home)
