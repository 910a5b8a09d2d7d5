"""What the agent does about its own process while it holds others.

It has a child that kills it when it is late: while an agent traces threads, they cannot leave the
harbour by themselves. One that hangs in storage past the deadline would keep them for ever; its
death frees them. The child is made before anybody stands, as a fork takes some milliseconds; it
never outlives the agent, and touches nothing but it. Meanwhile the
agent collects no garbage, may have as many descriptors as its hard limit allows, and is stopped by
no terminal.
"""

from __future__ import annotations

import gc
import os
import resource
import select
import signal
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from holdfast.system.processes.process import close_all_except
from holdfast.system.processes.stops import ignore_stops

GRACE_SECONDS = 2.0
"""What an agent may need after the deadline to let go in order."""

LEAST_SECONDS = 12.0
"""Processes that are late already are put right within 10 s (see rebind)."""


STOPPING_SECONDS = 30.0
"""While users are only being stopped nothing is parked: our death frees all of them unharmed."""

_WORDS = (
    "error[TIMEOUT]: process {agent} held others that stand still and hung, so it was killed: they"
    " go on\n  mend: holdfast recover puts right what is left.\n"
)

_SECONDS = struct.Struct("<d")


class Alarm:
    """Once it is set, strikes some seconds after a deadline, unless it is cancelled; ends with this
    process.

    From `set` to `cancel`, Ctrl-Z does not stop this process.
    """

    def __init__(self, least_seconds: float = LEAST_SECONDS) -> None:
        """`least_seconds`: it never strikes earlier than so long after it was set."""
        self._least_seconds = least_seconds
        self._let_stops_come: Callable[[], None] | None = None
        self._pid = self._setting = 0

    def prepare(self) -> None:
        """Begin the child, unless it is there; it waits to be told a time. Raises OSError."""
        if self._pid:
            return
        agent = os.pidfd_open(os.getpid())
        reading, self._setting = os.pipe2(os.O_CLOEXEC)
        self._pid = os.fork()
        if self._pid == 0:
            _watch(agent, reading)
        os.close(agent)
        os.close(reading)

    def set(self, deadline_ns: int) -> None:
        """Strike after this deadline, and after no earlier one. Does not block. Raises OSError when
        there can be no child, also in place of one that somebody has killed."""
        self.prepare()
        message = _SECONDS.pack(self._seconds_until(deadline_ns))
        try:
            os.write(self._setting, message)
        except BrokenPipeError:
            self._end()
            self.prepare()
            os.write(self._setting, message)
        if self._let_stops_come is None:
            self._let_stops_come = ignore_stops()

    def _seconds_until(self, deadline_ns: int) -> float:
        left_seconds = (deadline_ns - time.monotonic_ns()) / 1e9
        return max(left_seconds + GRACE_SECONDS, self._least_seconds)

    def cancel(self) -> None:
        """Take it away; it may be set again. Idempotent."""
        self._end()
        if self._let_stops_come is not None:
            self._let_stops_come()
            self._let_stops_come = None

    def _end(self) -> None:
        if self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(self._pid, 0)
            os.close(self._setting)
            self._pid = 0


def _watch(agent: int, reading: int) -> None:
    """The child: ends with the agent, or kills it, when it was told a time, and says so."""
    wait_seconds: float | None = None
    try:
        os.setsid()  # Ctrl-C is meant for the agent
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        words = _WORDS.format(agent=os.getppid()).encode()
        close_all_except({agent, reading})
        os.chdir("/")
        poller = select.poll()
        poller.register(agent, select.POLLIN)
        poller.register(reading, select.POLLIN)
        while True:
            found = poller.poll(None if wait_seconds is None else int(wait_seconds * 1000))
            if not found:
                signal.pidfd_send_signal(agent, signal.SIGKILL)
                os.set_blocking(2, False)
                os.write(2, words)
                break
            message = (
                os.read(reading, _SECONDS.size) if (agent, select.POLLIN) not in found else b""
            )
            if len(message) != _SECONDS.size:
                break  # the agent has ended
            wait_seconds = _SECONDS.unpack(message)[0]
    finally:
        os._exit(0)


@contextmanager
def without_collection() -> Iterator[None]:
    """Collect no garbage meanwhile. Can be nested.

    The priority of the agent stays as it is, on purpose: above that of the users, who make its
    calls, it takes their processor from them while it waits for them.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def raise_limit_of_descriptors() -> None:
    """Raise our limit of descriptors: everything is opened here before it is passed on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
