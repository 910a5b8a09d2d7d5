"""What whoever starts a program of ours may have left unusual, put right before anything else.

Invariant: afterwards the three standard streams are open, so that no file of ours becomes one of
them, and the end of a child can be waited for.
"""

from __future__ import annotations

import os
import signal
import sys
import threading


def begin_cleanly() -> None:
    """Must be called first. Idempotent."""
    _open_streams()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where it is ignored, waitpid(2) finds none


def _open_streams() -> None:
    """Nobody reads or writes where a stream was closed (`2>&-`): Python has None for it."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is not None:
            continue
        mode = os.O_RDONLY if name == "stdin" else os.O_WRONLY
        null = os.open(os.devnull, mode)
        if null != number:
            os.dup2(null, number)
            os.close(null)
        os.set_inheritable(number, True)
        setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115
