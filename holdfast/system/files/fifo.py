"""FIFOs and the pipes behind them: what is in one, how much it takes, and opening its ends.

A pipe belongs to the inode and lasts as long as any end of it is open. Nothing here waits for the
other end, and nothing that somebody has written is taken out: it is copied with tee(2), with the
borders between packets (O_DIRECT). Opening may block when the file system does.
"""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import os
import select
import termios
from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.system.files.beneath import reopen

_LIBC = ctypes.CDLL(None, use_errno=True)
_GET_CAPACITY, _SET_CAPACITY = 1032, 1031  # F_GETPIPE_SZ, F_SETPIPE_SZ: linux/fcntl.h
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
"""A buffer of a pipe to which write(2) may add has no more; spliced ones of sockets may have."""
_MOST_BYTES = (1 << 31) - 1
"""More than is in any pipe; more than INT_MAX none is asked for (MAX_RW_COUNT, linux/fs.h)."""
_OPENED_WITH = os.O_ACCMODE | os.O_SYNC
SET_AFTERWARDS = os.O_APPEND | os.O_NONBLOCK | os.O_DIRECT | os.O_NOATIME
"""SETFL_MASK of fs/fcntl.c. O_DIRECT is refused by open(2) and taken by F_SETFL; O_ASYNC belongs to
who sets it."""


def unread_bytes(end: int) -> int:
    """Bytes in the pipe, by any of its ends. Raises OSError."""
    count = array.array("i", [0])
    fcntl.ioctl(end, termios.FIONREAD, count)
    return count[0]


def capacity_bytes(end: int) -> int:
    """How many it takes (F_GETPIPE_SZ). Raises OSError."""
    return fcntl.fcntl(end, _GET_CAPACITY)


def is_hung_up(end: int) -> bool:
    """Whether a reading end has seen a writer, and there is none any more.

    One that was opened without waiting (O_NONBLOCK) and has seen none yet is not (poll(2)).
    """
    poller = select.poll()
    poller.register(end, 0)
    return any(events & select.POLLHUP for _, events in poller.poll(0))


class Fifo:
    """A FIFO whose ends are to be opened; its pipe lasts at least until `close`."""

    def __init__(self, place: int) -> None:
        """`place`: any descriptor of it, also with O_PATH. Raises OSError."""
        # With this one, open(2) for writing finds a reader.
        self._reading = reopen(place, os.O_RDONLY | os.O_NONBLOCK)

    def open(self, flags: int, *, hung_up: bool) -> int:
        """An end with these flags of open(2); caller closes. Those that are hung up come first.

        `hung_up`: as `is_hung_up` has said. Raises OSError.
        """
        end = self._opened(flags & _OPENED_WITH)
        try:
            if hung_up:
                os.close(self._opened(os.O_WRONLY))  # a writer that comes and goes
            fcntl.fcntl(end, fcntl.F_SETFL, flags & SET_AFTERWARDS)
        except OSError:
            os.close(end)
            raise
        return end

    def fill(self, source: int, capacity: int) -> None:
        """Let it take as much as another pipe does, and have in it what is in that one, too.

        Before any end is opened. `source`: a reading end. What is there already stays before that;
        but where it is the same, it is not there twice: the pipe has outlived its ends (one is on
        its way in a socket, say). Raises OSError, ENOSPC when not all of it has found room.

        What tee(2) has copied is a page that nobody adds to, and the last one may have had room: a
        single program at both ends would wait for itself. So the last bytes are written.
        """
        before = unread_bytes(self._reading)
        if capacity != capacity_bytes(self._reading):
            fcntl.fcntl(self._reading, _SET_CAPACITY, capacity)
        wanted = unread_bytes(source)
        if not wanted or (before and contents(self._reading).startswith(contents(source))):
            return
        writing = self._opened(os.O_WRONLY)
        try:
            tail = _last_bytes(source)
            _tee(source, writing, wanted - len(tail))
            if tail:
                os.write(writing, tail)
        finally:
            os.close(writing)
        if unread_bytes(self._reading) != before + wanted:
            raise OSError(errno.ENOSPC, "what is in the pipe finds no room in another one")

    def close(self) -> None:
        """Let it be as if we had never opened it."""
        os.close(self._reading)

    def _opened(self, flags: int) -> int:
        return reopen(self._reading, flags | os.O_NONBLOCK)


def make_ready(end: int) -> None:
    """Let whoever waits for an end of a pipe have it ready, to be written and to be read, once; it
    is empty afterwards. Only for one that nobody needs any more. Raises OSError."""
    reading = reopen(end, os.O_RDONLY | os.O_NONBLOCK)
    try:
        writing = reopen(end, os.O_WRONLY | os.O_NONBLOCK)
        try:
            # The one who wakes them says what is so; for a change of capacity somebody looks later.
            _empty(reading)
            os.write(writing, _MARK)
            _empty(reading)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _empty(reading: int) -> None:
    while waiting := unread_bytes(reading):
        os.read(reading, waiting)


def contents(reading: int) -> bytes:
    """What is in a pipe; it stays there. Raises OSError."""
    with _copy_of(reading) as ours:
        found = b""
        while waiting := unread_bytes(ours):
            found += os.read(ours, waiting)
        return found


@contextmanager
def _copy_of(reading: int) -> Iterator[int]:
    """The reading end of a pipe of ours with what is in another one."""
    with _pipe() as (ours, writing):
        fcntl.fcntl(writing, _SET_CAPACITY, capacity_bytes(reading))
        _tee(reading, writing)
        yield ours


@contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)


_MARK = b"."


def _last_bytes(source: int) -> bytes:
    """What is in the last buffer of a pipe; empty where nobody can add to it: a packet, or larger
    than a page (then it would take another buffer, which may be one too many). Raises OSError."""
    last = b""
    with _copy_of(source) as ours, _pipe() as (one, into_one), _pipe() as (two, into_two):
        fcntl.fcntl(into_one, _SET_CAPACITY, _PAGE_BYTES)  # takes one buffer at a time
        while left := unread_bytes(ours):
            length = os.splice(ours, into_one, left)
            if length < left or length > _PAGE_BYTES:
                os.read(one, length)
                continue
            _tee(one, into_two)
            os.write(into_two, _MARK)
            os.read(one, length)
            last = os.read(two, length + len(_MARK))  # ends at the border of a packet
            if len(last) == length:
                os.read(two, len(_MARK))
                last = b""
            else:
                last = last[:length]
    return last


def _tee(source: int, target: int, most_bytes: int = _MOST_BYTES) -> None:
    """Copy what is in one pipe into another one, as far as there is room; nothing is consumed."""
    if not most_bytes:
        return
    length = ctypes.c_size_t(most_bytes)
    if _LIBC.tee(source, target, length, ctypes.c_uint(os.SPLICE_F_NONBLOCK)) < 0:
        code = ctypes.get_errno()
        if code != errno.EAGAIN:  # nothing there, or no room
            raise OSError(code, os.strerror(code))
