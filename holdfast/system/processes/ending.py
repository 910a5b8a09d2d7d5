"""Signals that ask a process to end: they undo what is half done, as Ctrl-C does."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def ending_in_order() -> Iterator[list[int]]:
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C does; yields those that came.

    Those that are ignored stay so (nohup). Does nothing outside of the main thread.
    """
    came: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        came.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    ours = [
        number
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is signal.SIG_DFL
    ]
    for number in ours:
        signal.signal(number, interrupt)
    try:
        yield came
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def endings_wait() -> Iterator[None]:
    """Let them wait until this is over; also in a program that is started meanwhile, which has to
    let them come (`hear_endings`)."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def hear_endings() -> None:
    """Let those come that were made to wait, by whoever started this program, too."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
