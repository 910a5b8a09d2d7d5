"""What lies unread at an end of a connection of Unix sockets: read without taking it, sent again.

Everything is looked at with MSG_PEEK. Where more than the first message can only be seen by
SO_PEEK_OFF, that is set for as long as it takes, which nobody notices who does not peek himself.
Invariant: nothing is ever taken out of the queue that is read, and no descriptor that lies there
becomes ours: to close one waits for whoever is behind it. Both ends must stand still.
"""

from __future__ import annotations

import fcntl
import os
import re
import select
import socket
import struct
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

from holdfast.system.proc import read_record

# <asm-generic/socket.h>, <linux/socket.h>
_PEEK_OFFSET, _PASS_CREDENTIALS, _PASS_PIDFD, _FORCE_SEND_BYTES = 42, 16, 76, 32
_PASS_LABEL, _CREDENTIALS = 34, 2
_CREDENTIALS_OF = struct.Struct("=iII")
_DESCRIPTORS = re.compile(rb"^scm_fds:\s*0*[1-9]", re.MULTILINE)
"""How many lie unread, Linux 5.6: unix_show_fdinfo of net/unix/af_unix.c."""
_MOST_SEND_BYTES = 1 << 30
"""Half of what an int of the kernel has, for it doubles that."""
_PEEK = socket.MSG_PEEK | socket.MSG_DONTWAIT


class CannotBeKept(ValueError):
    """Something in the queue cannot be sent again as it was; the words say what."""


class UnreadMessage(NamedTuple):
    """One message; of a stream, bytes in a row that one process has sent."""

    data: bytes
    sender: tuple[int, int, int] | None
    """Process, user and group that whoever receives it is told (SCM_CREDENTIALS); None: nobody."""


class EndState(NamedTuple):
    """How far an end is closed."""

    is_read_to_end: bool
    """Nothing more will come than what is there (POLLRDHUP)."""
    is_over: bool
    has_failed: bool
    """An error is to be told: the other end was closed before it had read everything."""


def state_of(end: socket.socket) -> EndState:
    """Told by poll(2), which changes nothing."""
    events = _events(end)
    marks = (select.POLLRDHUP, select.POLLHUP, select.POLLERR)
    return EndState(*(bool(events & mark) for mark in marks))


def unread_messages(end: socket.socket) -> list[UnreadMessage]:
    """What lies there. Raises CannotBeKept, OSError."""
    if _events(end) & select.POLLPRI:
        raise CannotBeKept("urgent data (MSG_OOB) lie unread in it")
    if has_descriptors(f"/proc/self/fdinfo/{end.fileno()}"):
        raise CannotBeKept("descriptors are on their way in it")
    left = struct.unpack("i", fcntl.ioctl(end, termios.FIONREAD, bytes(4)))[0]
    offset = end.getsockopt(socket.SOL_SOCKET, _PEEK_OFFSET)
    if end.type == socket.SOCK_STREAM and offset < 0 and not _tells_senders(end):
        first = [_peeked(end, left)] if left else []
        if sum(len(each.data) for each in first) != left:
            raise CannotBeKept("what lies unread in it cannot be seen")
        return first
    if not left and not _has_message(end):
        return []
    if end.type != socket.SOCK_STREAM and state_of(end).has_failed:
        raise CannotBeKept("an error is to be told before what lies unread in it")
    with _peeking_on(end, offset):
        return list(_one_by_one(end, left))


def send_again(end: socket.socket, messages: Sequence[UnreadMessage]) -> None:
    """Send these to the other end, whatever the limits are; its options are set afterwards.

    Raises CannotBeKept, OSError."""
    if not messages:
        return
    end.setsockopt(socket.SOL_SOCKET, _FORCE_SEND_BYTES, _MOST_SEND_BYTES)
    for each in messages:
        ancillary = []
        if each.sender is not None:
            credentials = _CREDENTIALS_OF.pack(*each.sender)
            ancillary = [(socket.SOL_SOCKET, _CREDENTIALS, credentials)]
        view = memoryview(each.data)
        while view:
            try:
                view = view[end.sendmsg([view], ancillary, socket.MSG_DONTWAIT) :]
            except ProcessLookupError as error:
                words = "a message lies unread in it whose sender has ended (SO_PASSCRED)"
                raise CannotBeKept(words) from error
            except BlockingIOError as error:
                raise CannotBeKept("more lies unread in it than a new one takes") from error


def has_descriptors(place: str) -> bool:
    """Whether descriptors lie unread in a socket: its file in an fdinfo folder. Raises OSError."""
    return bool(_DESCRIPTORS.search(read_record(place)))


def is_sent_unread(descriptor: int) -> bool:
    """Whether it is of a Unix socket, and something that it has sent has not been received."""
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as end:
        sent = fcntl.ioctl(end, termios.TIOCOUTQ, bytes(4))
        return end.family == socket.AF_UNIX and struct.unpack("i", sent)[0] > 0
    return False


def _events(end: socket.socket) -> int:
    poller = select.poll()
    poller.register(end, select.POLLIN | select.POLLPRI | select.POLLRDHUP)
    return sum(events for _, events in poller.poll(0))


def _has_message(end: socket.socket) -> bool:
    """Whether there may be one of no bytes."""
    events = _events(end)
    return bool(events & select.POLLIN) and not events & select.POLLRDHUP


def _tells_senders(end: socket.socket) -> bool:
    return any(_is_set(end, option) for option in (_PASS_CREDENTIALS, _PASS_PIDFD))


def _is_set(end: socket.socket, option: int) -> bool:
    try:
        return bool(end.getsockopt(socket.SOL_SOCKET, option))
    except OSError:  # a kernel that does not know it
        return False


def _one_by_one(end: socket.socket, left: int) -> Iterator[UnreadMessage]:
    while True:
        if not left and not _has_message(end):
            return
        try:
            found = _peeked(end, max(left, 1))
        except BlockingIOError:
            if left:
                raise CannotBeKept("what lies unread in it cannot be seen") from None
            return
        if not found.data:
            raise CannotBeKept("a message of no bytes lies unread in it")
        left -= len(found.data)
        yield found


@contextmanager
def _peeking_on(end: socket.socket, before: int) -> Iterator[None]:
    """Let each look begin where the one before has ended."""
    end.setsockopt(socket.SOL_SOCKET, _PEEK_OFFSET, 0)
    try:
        yield
    finally:
        end.setsockopt(socket.SOL_SOCKET, _PEEK_OFFSET, before)


def _peeked(end: socket.socket, most_bytes: int) -> UnreadMessage:
    """The next one. There is no room for descriptors, pidfds and labels: only for credentials,
    which come first (scm_recv of net/core/scm.c)."""
    tells = _is_set(end, _PASS_CREDENTIALS)
    room = socket.CMSG_LEN(_CREDENTIALS_OF.size) if tells else 0
    data, ancillary, flags, _ = end.recvmsg(most_bytes, room, _PEEK)
    has_pidfd = _is_set(end, _PASS_PIDFD) and not _is_set(end, _PASS_LABEL)
    if flags & socket.MSG_CTRUNC and not has_pidfd:
        raise CannotBeKept("descriptors or a label lie unread in it")
    if flags & socket.MSG_TRUNC:
        raise CannotBeKept("what lies unread in it cannot be seen")
    sender = None
    for level, kind, value in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, _CREDENTIALS):
            told = _CREDENTIALS_OF.unpack(value)
            sender = told if told[0] > 0 else None  # 0: sent when nobody wanted to know
    return UnreadMessage(data, sender)
