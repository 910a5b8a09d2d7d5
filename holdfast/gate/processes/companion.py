"""A process that shares the memory of a worker, so that a killed worker ends at once.

Made by compiled code, `gate/data/c/companion.h`, which says why and what it does. Nothing relies on
it: without one, a worker that is killed gives back its memory first, and its successor waits for
its locks some milliseconds longer.
"""

from __future__ import annotations

import logging
import os
import signal
from contextlib import suppress

from holdfast.gate.data.compiled import COMPILED

_log = logging.getLogger(__name__)


class Companion:
    """The one of this worker, or none. It ends by itself after the worker has."""

    def __init__(self) -> None:
        self._pid = 0

    def begin(self) -> None:
        """Have one. Called once in the life of a worker."""
        if COMPILED is None:
            return
        try:
            watch = os.pidfd_open(os.getpid())
            try:
                self._pid = COMPILED.accompany(watch)
            finally:
                os.close(watch)
        except OSError as error:  # no room for a process
            _log.warning("no process to keep the memory of the worker: %s", error)

    def end(self) -> None:
        """For a worker that ends on purpose: it leaves no process behind. Blocks for an instant."""
        with suppress(ChildProcessError):  # it was killed, and buried
            if self._pid and os.waitpid(self._pid, os.WNOHANG)[0] == 0:
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
