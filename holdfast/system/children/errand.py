"""A child that is sent away with some work, and asked now and then how far it is: `Errand`.

Invariant: nothing here waits. A child that hangs inside the kernel stays the caller's until it is
gone, so that a caller who begins no second one before has one at most. Must never be used by a
process that needs its other threads in the child, as holdfast.system.children.expendable.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import struct
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from holdfast.system.processes.process import close_all_except, fork_reporting

Answer = TypeVar("Answer")

_LENGTH = struct.Struct("=I")
_PIPE_READ_BYTES = 1 << 16


class Errand(Generic[Answer]):
    """One child; it ends with the thread that made it, wherever it hangs.

    It keeps nothing open that its maker has open: one that hangs holds no lock of a dead one.
    """

    def __init__(self, work: Callable[[Callable[[Answer], None]], object]) -> None:
        """Begin `work` in a child; it is given what sends an answer (picklable, all less than
        a page together). Raises OSError."""
        self.pid, self._reading = fork_reporting(partial(_serve, work), os.O_NONBLOCK)
        self._data = bytearray()
        self._is_gone = False
        self.is_over = False
        """It will answer nothing more: its work is done, or it has died."""

    def fileno(self) -> int:
        """For poll(2): readable when there is something to fetch."""
        return self._reading

    def fetch(self) -> list[Answer]:
        """The answers since the last call."""
        while not self.is_over:
            try:
                part = os.read(self._reading, _PIPE_READ_BYTES)
            except BlockingIOError:
                break
            self._data += part
            self.is_over = not part
        found: list[Answer] = []
        while len(self._data) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._data)[0]
            if len(self._data) < end:
                break
            found.append(pickle.loads(self._data[_LENGTH.size : end]))
            del self._data[:end]
        return found

    def end(self) -> None:
        """Kill it, unless it has ended; idempotent. It may hang for a while: see `is_gone`."""
        if self._reading >= 0:
            os.close(self._reading)
            self._reading = -1
            self.is_over = True
        if not self.is_gone():
            os.kill(self.pid, signal.SIGKILL)

    def is_gone(self) -> bool:
        """Whether nothing is left of it: then it is buried."""
        if not self._is_gone:
            with contextlib.suppress(ChildProcessError):
                pid, _status = os.waitpid(self.pid, os.WNOHANG)
                self._is_gone = bool(pid)
        return self._is_gone


def _serve(work: Callable[[Callable[[Answer], None]], object], writing: int) -> None:
    close_all_except({writing})
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    with contextlib.suppress(BaseException):  # it dies without a further answer
        work(partial(_tell, writing))


def _tell(writing: int, answer: object) -> None:
    data = pickle.dumps(answer)
    os.write(writing, _LENGTH.pack(len(data)) + data)
