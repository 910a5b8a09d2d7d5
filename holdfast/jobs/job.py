"""A job, seen by whoever begins it and waits for it."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Generic, TypeVar

from holdfast.config import Settings
from holdfast.jobs.ends import Died, End, Finished, error_of, read_end
from holdfast.model.bounded import read_object
from holdfast.model.event import Event, read_event
from holdfast.service.operations import operation_of, request_as_json
from holdfast.service.requests import OperationRequest
from holdfast.system.processes.ending import endings_wait
from holdfast.system.processes.process import has_ended

Result = TypeVar("Result")

_READ_BYTES = 1 << 16

_GONE_SECONDS = 1.0
"""From its last words to the end of its process, on a busy host."""


class Job(Generic[Result]):
    """A process that carries out one request. Begun at once; use it as a context manager.

    For one thread at a time, but for `interrupt`. Whoever leaves the context before the end
    interrupts the job, and waits until it has undone what was half done.
    """

    def __init__(self, request: OperationRequest[Result], settings: Settings | None = None) -> None:
        """Raises OSError when no process can be started."""
        self._operation = operation_of(request)
        asked = request_as_json(request)
        home = (settings or Settings()).home
        asked["settings"] = {"home": None if home is None else str(home)}
        text = json.dumps(asked).encode() + b"\n"
        self._ours, theirs = socket.socketpair()
        self._text = b""
        """What was read and is not a whole line yet."""
        self._unread = ""
        """Why something that it said was no event."""
        self._interrupted = False
        self._end: End | None = None
        self._lock = threading.Lock()
        """Of the end and of `_watch`: another thread may interrupt."""
        try:
            with theirs, endings_wait():
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "holdfast.jobs", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,  # a terminal's Ctrl-C is for whoever waits
                    pass_fds=(theirs.fileno(),),
                )
                self._watch = os.pidfd_open(self._process.pid)
            with suppress(OSError):  # it has died, which is told as its end
                self._ours.sendall(text)
        except BaseException:  # nobody will have this object: the job is not to be, either
            self._ours.close()
            if hasattr(self, "_watch"):
                self.interrupt()
                os.close(self._watch)
            raise

    @property
    def pid(self) -> int:
        """Its process; SIGTERM, from anybody, ends it in order."""
        return self._process.pid

    @property
    def end(self) -> End | None:
        """How it ended; None: nothing was read of an end yet."""
        return self._end

    def __iter__(self) -> Iterator[Event]:
        """What happens, until the end; blocks meanwhile. What was told to nobody may be lost."""
        while (event := self.next_event()) is not None:
            yield event

    def next_event(self, timeout_seconds: float | None = None) -> Event | None:
        """The next thing that happens; None: it has ended. Raises TimeoutError: neither."""
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while self._end is None:
            line = self._line(deadline)
            if line is None:
                self._bury(self._died())
            elif event := self._understood(line):
                return event
        return None

    def wait(self) -> End:
        """How it ends. Blocks until then."""
        while self._end is None:
            self.next_event()
        return self._end

    def result(self) -> Result:
        """What it gives; blocks until its end.

        Raises what the same call raises in one's own process; JobInterrupted, JobDied.
        """
        end = self.wait()
        if isinstance(end, Finished):
            found: Result = end.result
            return found
        raise error_of(end, self._operation.name)

    def interrupt(self) -> None:
        """Let it end in order, as Ctrl-C does; does not wait. Idempotent: nothing disturbs its
        undoing. Nothing happens after its end."""
        with self._lock, suppress(ProcessLookupError):
            if self._end is None and not self._interrupted:
                self._interrupted = True
                signal.pidfd_send_signal(self._watch, signal.SIGTERM)

    def close(self) -> None:
        """Interrupt it where it has not ended, and wait for its end. Idempotent."""
        self.interrupt()
        self.wait()

    def __enter__(self) -> Job[Result]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _line(self, deadline: float | None) -> bytes | None:
        """The next line; None: there is none any more. Raises TimeoutError."""
        while b"\n" not in self._text:
            more = self._read(deadline)
            if not more:
                return None
            self._text += more
        line, _, self._text = self._text.partition(b"\n")
        return line

    def _read(self, deadline: float | None) -> bytes:
        """What comes next; nothing: its process has ended, and everything that it said was read.

        Its children have the socket too, and may outlive it: only its death says that it is over.
        """
        poller = select.poll()
        poller.register(self._ours, select.POLLIN)
        poller.register(self._watch, select.POLLIN)
        left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        if not poller.poll(left):
            raise TimeoutError("nothing has happened")
        with suppress(BlockingIOError, ConnectionResetError):
            return self._ours.recv(_READ_BYTES, socket.MSG_DONTWAIT)
        return b""

    def _understood(self, line: bytes) -> Event | None:
        """The event; None: it is the end, or cannot be read."""
        try:
            values = read_object(line)
            if "end" not in values:
                return read_event(values)
            self._bury(read_end(values, self._operation.result_of))
        except ValueError as error:
            self._unread = f"what it said cannot be read: {error}"
        return None

    def _died(self) -> Died:
        """It has ended, or closed its side, without a word on how."""
        return Died(max(0, -self._process.wait()), self._unread)

    def _bury(self, end: End) -> None:
        """This is its end. Its process is gone soon, if it does not hang inside storage."""
        if has_ended(self._watch, _GONE_SECONDS):
            self._process.wait()
        with self._lock:
            self._end = end
            self._ours.close()
            os.close(self._watch)
