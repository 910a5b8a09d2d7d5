"""What waits in a Unix datagram socket: looked at, kept from growing, and sent again as it was.

Nothing is taken out of a socket. What the kernel skips when it is looked at for the second time:
datagrams without a byte (SO_PEEK_OFF of socket(7)). `fill` and `send_again` look names up and may
block: for expendable children, which `send_again` leaves in namespaces of their own.
"""

from __future__ import annotations

import array
import ctypes
import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from holdfast.system.files.bound_socket import file_of
from holdfast.system.files.socket_names import bind_to, make_way
from holdfast.system.mounts.detached import mount_detached
from holdfast.system.processes.listening import fork_as

# <asm-generic/socket.h>
_FORCE_SEND_BYTES, _PEEK_FROM = 32, 42
_SEND_ROOM_BYTES = 1 << 26
"""Each datagram that waits counts some hundred bytes for its sender, however short it is."""

_ROOM_BYTES, _ANCILLARY_BYTES = 1 << 20, 4096
"""A longer datagram is looked at in parts. SCM_MAX_FD descriptors (253) and two numbers."""

_CREDENTIALS = struct.Struct("=iII")
"""struct ucred."""
_NOT_TOLD = (0, 65534, 65534)
"""What the kernel gives where nobody had asked for them: no process, overflow_uid."""
_CLONE_NEWNET = 0x40000000
"""linux/sched.h"""

MOST = 5_000
"""Datagrams that may wait in one socket: ten times what systemd lets (net.unix.max_dgram_qlen)."""

_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Datagram:
    """One that waits."""

    data: bytes
    sender: bytes
    """The bytes of its sender's name, those of an abstract one begin with a zero; empty: none."""
    credentials: tuple[int, int, int] | None
    """Process, user and group (SCM_CREDENTIALS), as we count them; None: not told."""
    descriptors: tuple[int, ...] = ()
    """Ours, of what was sent with it; the caller closes."""


def fill(end: socket.socket, name: bytes) -> bool:
    """Fill a socket with empty datagrams of a sender of this (abstract) name; whether it is full.

    Nobody's finds room then: who may wait does, and looks the name up again when the socket is
    gone. Raises OSError: where we cannot send, nobody can who is not connected.
    """
    place = file_of(end.fileno())
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as ours:
            ours.setsockopt(socket.SOL_SOCKET, _FORCE_SEND_BYTES, _SEND_ROOM_BYTES)
            ours.bind(name)
            ours.connect(f"/proc/self/fd/{place}")
            for _ in range(MOST + 1):
                try:
                    ours.send(b"")
                except BlockingIOError:
                    return True
            return False
    finally:
        os.close(place)


def waiting_in(end: socket.socket) -> list[Datagram]:
    """What waits in it, in order; those who send must stand still, or find no room. Raises OSError,
    and nothing is ours then."""
    found: list[Datagram] = []
    with _looked_at(end):
        try:
            while True:
                found.append(_next(end))
        except BlockingIOError:
            return found
        except BaseException:
            close_descriptors(found)
            raise


def close_descriptors(datagrams: Sequence[Datagram]) -> None:
    """Close those that are ours."""
    for each in datagrams:
        for descriptor in each.descriptors:
            os.close(descriptor)


@contextmanager
def _looked_at(end: socket.socket) -> Iterator[None]:
    options = (_PEEK_FROM, socket.SO_PASSCRED)
    before = [end.getsockopt(socket.SOL_SOCKET, each) for each in options]
    try:
        for option, value in zip(options, (0, 1), strict=True):
            end.setsockopt(socket.SOL_SOCKET, option, value)
        yield
    finally:
        for option, value in zip(options, before, strict=True):
            end.setsockopt(socket.SOL_SOCKET, option, value)


def _next(end: socket.socket) -> Datagram:
    flags = socket.MSG_PEEK | socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
    data, ancillary, told, sender = end.recvmsg(_ROOM_BYTES, _ANCILLARY_BYTES, flags)
    credentials, descriptors = _ancillary(ancillary)
    parts = [data]
    while told & socket.MSG_TRUNC:
        data, more, told, _ = end.recvmsg(_ROOM_BYTES, _ANCILLARY_BYTES, flags)
        for descriptor in _ancillary(more)[1]:  # given once more
            os.close(descriptor)
        parts.append(data)
    return Datagram(b"".join(parts), os.fsencode(sender or b""), credentials, descriptors)


def _ancillary(
    messages: Sequence[tuple[int, int, bytes]],
) -> tuple[tuple[int, int, int] | None, tuple[int, ...]]:
    credentials, numbers = None, array.array("i")
    for level, kind, data in messages:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers.frombytes(data[: len(data) // 4 * 4])
        elif level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            process, user, group = _CREDENTIALS.unpack(data[: _CREDENTIALS.size])
            credentials = (process, user, group)
    return None if credentials == _NOT_TOLD else credentials, tuple(numbers)


def send_again(end: socket.socket, datagrams: Sequence[Datagram]) -> list[str]:
    """Send these to a socket that nobody else can reach yet; of each what is not as it was, if
    anything. SO_PASSCRED must not be set on it yet. Raises OSError."""
    names = [each.sender for each in datagrams if each.sender]
    if any(name.startswith(b"\0") for name in names):
        _LIBC.unshare(_CLONE_NEWNET)  # where it cannot be, the names may be in use
    folder = mount_detached("tmpfs", {"mode": "0700"}) if names else -1
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    place = file_of(end.fileno())
    return [_sent_again(each, place, folder, root) for each in datagrams]


def _sent_again(each: Datagram, place: int, folder: int, root: int) -> str:
    words = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as ours:
        ours.setsockopt(socket.SOL_SOCKET, _FORCE_SEND_BYTES, max(len(each.data) * 2, 1 << 16))
        ours.connect(f"/proc/self/fd/{place}")
        if each.sender:
            try:
                _name(ours, each.sender, folder, root)
            except OSError as error:
                words.append(f"without its sender's name: {error.strerror}")
        try:
            words += _send(ours, each)
        except BlockingIOError:
            return "lost: the socket holds fewer now (net.unix.max_dgram_qlen)"
    return ", ".join(words)


def _name(ours: socket.socket, name: bytes, folder: int, root: int) -> None:
    """Bind it to these bytes: to a file where our root is a directory of our own for a moment."""
    if name.startswith(b"\0"):
        ours.bind(name)
        return
    os.fchdir(folder)
    os.chroot(".")
    try:
        make_way(name)
        bind_to(ours, name)
        os.unlink(name)  # noqa: PTH108 - the same name may come again
    finally:
        os.fchdir(root)
        os.chroot(".")


def _send(ours: socket.socket, each: Datagram) -> list[str]:
    rights = [
        (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", each.descriptors).tobytes())
        for _ in each.descriptors[:1]
    ]
    if each.credentials is None:
        ours.sendmsg([each.data], rights)
        return []
    told = (socket.SOL_SOCKET, socket.SCM_CREDENTIALS, _CREDENTIALS.pack(*each.credentials))
    try:
        ours.sendmsg([each.data], [*rights, told])
        return []
    except OSError as error:
        if error.errno != errno.ESRCH:
            raise
    process, *others = each.credentials
    if process > 0 and _sent_by(ours, process, each.data, [*rights, told]):
        return []
    told = (socket.SOL_SOCKET, socket.SCM_CREDENTIALS, _CREDENTIALS.pack(os.getpid(), *others))
    ours.sendmsg([each.data], [*rights, told])
    return [f"sent by process {os.getpid()} in place of {process}"]


def _sent_by(
    ours: socket.socket, process: int, data: bytes, ancillary: list[tuple[int, int, bytes]]
) -> bool:
    """Whether a child of the number of the sender, who has ended, could send it."""
    child = fork_as(process)
    if child < 0:
        return False
    if child == 0:
        status = 1
        try:
            ours.sendmsg([data], ancillary)
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0
