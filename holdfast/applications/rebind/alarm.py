"""A small child that kills an agent which is late, so that those it holds can go.

While an agent traces threads they cannot leave the harbour by themselves. An agent that hangs in
storage past the deadline would keep them for ever; its death frees them. Must never outlive the
agent, nor touch anything but it.
"""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import suppress

from holdfast.system.process import close_all_except

GRACE_SECONDS = 2.0
"""What an agent may need after the deadline to let go in order."""

LEAST_SECONDS = 12.0
"""Processes that are late already are put right within 10 s (see rebind)."""


class Alarm:
    """Strikes some seconds after a deadline, unless it is cancelled; ends with this process."""

    def __init__(self, deadline_ns: int, least_seconds: float = LEAST_SECONDS) -> None:
        """`least_seconds`: it never strikes earlier than so long from now."""
        left_seconds = (deadline_ns - time.monotonic_ns()) / 1e9
        wait_seconds = max(left_seconds + GRACE_SECONDS, least_seconds)
        agent = os.pidfd_open(os.getpid())
        self._pid = os.fork()
        if self._pid == 0:
            _watch(agent, wait_seconds)
        os.close(agent)

    def cancel(self) -> None:
        """Take it away. Idempotent."""
        if self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(self._pid, 0)
            self._pid = 0


def _watch(agent: int, wait_seconds: float) -> None:
    """The child: ends with the agent, or kills it."""
    try:
        os.setsid()  # Ctrl-C is meant for the agent
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        close_all_except({agent})
        os.chdir("/")
        poller = select.poll()
        poller.register(agent, select.POLLIN)
        if not poller.poll(int(wait_seconds * 1000)):
            signal.pidfd_send_signal(agent, signal.SIGKILL)
    finally:
        os._exit(0)
