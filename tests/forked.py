"""A part of a test in a process of its own: `in_fork` says how that process ended, `forked` does
not wait for it."""

from __future__ import annotations

import faulthandler
import os
import signal
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass

_STANDARD_ERROR = 2


@dataclass(frozen=True)
class Ended:
    """How a forked process ended. As text: in words, with what it wrote to standard error."""

    code: int
    """Its exit status; of a signal the number, negative."""
    told: str

    def __str__(self) -> str:
        how = f"exit status {self.code}" if self.code >= 0 else signal.Signals(-self.code).name
        return f"it ended by {how}\n{self.told}".rstrip()


def forked(function: Callable[[], object]) -> int:
    """Call it in a forked process that whoever calls this kills, or waits for."""
    child = os.fork()
    if child == 0:
        try:
            function()
            os._exit(0)
        except BaseException:
            os.write(_STANDARD_ERROR, traceback.format_exc().encode())
        finally:
            os._exit(1)
    return child


def in_fork(function: Callable[[], object]) -> Ended:
    """Call it in a forked process, and wait for its end: 0 on return, 1 after an exception.

    A traceback of the exception, or of a fatal signal, is in what it told.
    """
    with tempfile.TemporaryFile() as told:
        child = os.fork()
        if child == 0:
            try:
                os.dup2(told.fileno(), _STANDARD_ERROR)
                faulthandler.enable(_STANDARD_ERROR)
                function()
                os._exit(0)
            except BaseException:
                os.write(_STANDARD_ERROR, traceback.format_exc().encode())
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        told.seek(0)
        words = told.read().decode(errors="replace")
    return Ended(os.waitstatus_to_exitcode(status), words)
