"""What waits in a Unix datagram socket: looked at, kept from growing, and sent again as it was.

Nothing is taken out of a socket. What the kernel skips when it is looked at for the second time:
datagrams without a byte (SO_PEEK_OFF of socket(7)). Everything is for expendable children: names
are looked up, descriptors of strangers come, and `send_again` leaves namespaces behind.
"""

from __future__ import annotations

import array
import ctypes
import errno
import os
import socket
import struct
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple

from holdfast.late_dataclass import dataclass
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

MOST = 50_000
"""Datagrams of ours at some 2 µs and 1 kB each, while everybody stands."""

_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Datagram:
    """One that waits."""

    data: bytes
    sender: bytes
    """The bytes of its sender's name, those of an abstract one begin with a zero; empty: none."""
    credentials: tuple[int, int, int] | None
    """Process, user and group (SCM_CREDENTIALS), as we count them; None: not told."""
    descriptors: int = 0
    """How many were sent with it."""
    is_whole: bool = True
    """Whether none of those are lost."""


def fill(ends: Sequence[socket.socket], name: bytes) -> list[bool]:
    """Fill sockets with empty datagrams of a sender of this (abstract) name; which are full.

    Nobody's finds room then: who may wait does, and looks the name up again when the socket is
    gone. As many are ours in each as may wait by the present setting, and `MOST` more in all.
    """
    usual = usual_length() + 1
    more = MOST
    full = []
    for end in ends:
        sent, is_full = 0, False
        with suppress(OSError):  # where we cannot send, nobody can who is not connected
            for sent in _sending(end, name):
                if sent == usual + more:
                    break
            else:
                is_full = True
        more -= max(0, sent - usual)
        full.append(is_full)
    return full


def usual_length() -> int:
    """How many datagrams may wait in a socket that is made now, but one. Raises OSError."""
    return int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text())


def _sending(end: socket.socket, name: bytes) -> Iterator[int]:
    """Send one after the other, until there is no room; how many there are. Raises OSError."""
    place = file_of(end.fileno())
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as ours:
            ours.setsockopt(socket.SOL_SOCKET, _FORCE_SEND_BYTES, _SEND_ROOM_BYTES)
            ours.bind(name)
            try:
                ours.connect(f"/proc/self/fd/{place}")
            except PermissionError as error:
                if error.errno != errno.EPERM:
                    raise
                return  # it is connected: nobody but that one may send to it
            for sent in count(1):
                ours.send(b"")
                yield sent
    except (BlockingIOError, BrokenPipeError):  # no room, or it was shut down
        return
    finally:
        os.close(place)


def waiting_in(end: socket.socket, held: socket.socket) -> list[Datagram]:
    """What waits in it, in order; those who send must stand still, or find no room.

    Descriptors are on their way from `held` to the other end of that pair afterwards, see
    `held_pair`: to close one waits for whoever is behind it, close(2). They are never closed here.
    Raises OSError.
    """
    found: list[Datagram] = []
    with _looked_at(end), suppress(BlockingIOError):
        while True:
            found.append(_next(end, held))
    return found


def held_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a pair: from the first, descriptors are on their way to the second, and are let
    go with that, without being anybody's in between."""
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    pair[0].setsockopt(socket.SOL_SOCKET, _FORCE_SEND_BYTES, _SEND_ROOM_BYTES)
    pair[0].setblocking(False)
    return pair


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


def _next(end: socket.socket, held: socket.socket) -> Datagram:
    flags = socket.MSG_PEEK | socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
    data, ancillary, told, sender = end.recvmsg(_ROOM_BYTES, _ANCILLARY_BYTES, flags)
    credentials, descriptors = _ancillary(ancillary)
    is_whole = not told & socket.MSG_CTRUNC
    if descriptors:
        try:
            _send_descriptors(held, descriptors)
        except OSError:
            descriptors, is_whole = array.array("i"), False
    parts = [data]
    while told & socket.MSG_TRUNC:
        data, _, told, _ = end.recvmsg(_ROOM_BYTES, 0, flags)
        parts.append(data)
    name = os.fsencode(sender or b"")
    return Datagram(b"".join(parts), name, credentials, len(descriptors), is_whole)


def _send_descriptors(held: socket.socket, descriptors: array.array[int]) -> None:
    held.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors.tobytes())])


def _ancillary(
    messages: Sequence[tuple[int, int, bytes]],
) -> tuple[tuple[int, int, int] | None, array.array[int]]:
    credentials, descriptors = None, array.array("i")
    for level, kind, data in messages:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) // 4 * 4])
        elif level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            process, user, group = _CREDENTIALS.unpack(data[: _CREDENTIALS.size])
            credentials = (process, user, group)
    return None if credentials == _NOT_TOLD else credentials, descriptors


def send_again(
    end: socket.socket, datagrams: Sequence[Datagram], held: socket.socket | None
) -> list[str]:
    """Send these to a socket that nobody else can reach yet; of each what is not as it was, if
    anything. `held`: where their descriptors are; None: they are lost. SO_PASSCRED must not be set
    on the socket yet. Raises OSError."""
    names = [each.sender for each in datagrams if each.sender]
    if any(name.startswith(b"\0") for name in names):
        _LIBC.unshare(_CLONE_NEWNET)  # where it cannot be, the names may be in use
    folder = mount_detached("tmpfs", {"mode": "0700"}) if names else -1
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    place = file_of(end.fileno())
    words, number = [], 0
    for each in datagrams:
        rights = _Rights(held, number) if held is not None and each.descriptors else None
        words.append(_sent_again(each, place, folder, root, rights))
        number += 1 if each.descriptors else 0
    return words


class _Rights(NamedTuple):
    """Descriptors that are on their way."""

    held: socket.socket
    number: int
    """How many other messages come before."""

    def take(self) -> list[tuple[int, int, bytes]]:
        """They stay where they are as well. To close them may hang."""
        self.held.setsockopt(socket.SOL_SOCKET, _PEEK_FROM, self.number)
        flags = socket.MSG_PEEK | socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
        descriptors = _ancillary(self.held.recvmsg(1, _ANCILLARY_BYTES, flags)[1])[1]
        return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors.tobytes())]


def _sent_again(each: Datagram, place: int, folder: int, root: int, rights: _Rights | None) -> str:
    whole = each.is_whole and (rights is not None or not each.descriptors)
    words = [] if whole else ["without the descriptors that were sent with it"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as ours:
        ours.setsockopt(socket.SOL_SOCKET, _FORCE_SEND_BYTES, max(len(each.data) * 2, 1 << 16))
        ours.connect(f"/proc/self/fd/{place}")
        if each.sender:
            try:
                _name(ours, each.sender, folder, root)
            except OSError as error:
                words.append(f"without its sender's name: {error.strerror}")
        try:
            words += _send(ours, each, rights)
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


def _send(ours: socket.socket, each: Datagram, rights: _Rights | None) -> list[str]:
    """Raises OSError; what is not as it was."""
    told = each.credentials
    error = _attempt(ours, each.data, told, rights, None if rights is None else os.fork)
    words = []
    if error == errno.ESRCH and told is not None:
        process, *others = told
        if process > 0:
            error = _attempt(ours, each.data, told, rights, partial(fork_as, process))
        if error == errno.ESRCH:
            mine = (os.getpid(), others[0], others[1])
            error = _attempt(ours, each.data, mine, rights, None if rights is None else os.fork)
            words.append(f"sent by process {os.getpid()} in place of {process}")
    if error:
        raise OSError(error, os.strerror(error))
    return words


def _attempt(
    ours: socket.socket,
    data: bytes,
    credentials: tuple[int, int, int] | None,
    rights: _Rights | None,
    fork: Callable[[], int] | None,
) -> int:
    """Send it, in a child that has nothing else open if `fork` is given; 0, or an error number.

    The child is left alone: it may hang when it closes what it has sent. ESRCH: there is no
    process of that number, nor could a child have it.
    """
    if fork is None:
        return _sent(ours, data, credentials, rights)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        child = fork()
        if child == 0:
            try:
                _close_others({ours.fileno(), writing, rights.held.fileno() if rights else writing})
                error = _sent(ours, data, credentials, rights)
                os.write(writing, struct.pack("=i", error))
                os.close(writing)
            finally:
                os._exit(0)
        os.close(writing)
        writing = -1
        answer = os.read(reading, 4) if child > 0 else struct.pack("=i", errno.ESRCH)
        return int(struct.unpack("=i", answer)[0]) if len(answer) == 4 else errno.EIO
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)


def _sent(
    ours: socket.socket,
    data: bytes,
    credentials: tuple[int, int, int] | None,
    rights: _Rights | None,
) -> int:
    try:
        ancillary = [] if rights is None else rights.take()
        if credentials is not None:
            packed = _CREDENTIALS.pack(*credentials)
            ancillary.append((socket.SOL_SOCKET, socket.SCM_CREDENTIALS, packed))
        ours.sendmsg([data], ancillary)
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def _close_others(kept: Collection[int]) -> None:
    begin = 0
    for each in sorted(kept):
        os.closerange(begin, each)
        begin = each + 1
    os.closerange(begin, os.sysconf("SC_OPEN_MAX"))
