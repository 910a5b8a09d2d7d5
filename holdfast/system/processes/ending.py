"""Signals that ask a process to end: they undo what is half done, as Ctrl-C does.

Invariant: whoever is told to end is interrupted, exactly once: a second exception would come in the
middle of the undoing. Python drops the exception where it cannot pass it on: in what modules have
registered for a fork, in a finaliser. Then it comes once more, a moment later: nobody sends the
signal a second time.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
"""The last one is sent by ourselves, when one of the others was lost."""

AGAIN_SECONDS = 0.01
"""The fork is over then, or the finaliser; if not, it comes again."""


@contextmanager
def ending_in_order() -> Iterator[list[int]]:
    """Let the first of SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt; yields those that came.

    A session that is closed sends two of them at once, an impatient person more: the later ones
    are only noted. Those that are ignored stay so (nohup). Does nothing outside of the main thread.
    """
    came: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if len(came) == 1:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = {
        number: handler
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if (handler := signal.getsignal(number)) in (signal.SIG_DFL, signal.default_int_handler)
    }
    for number in before:
        signal.signal(number, interrupt)
    try:
        with _none_lost():
            yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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


@contextmanager
def _none_lost() -> Iterator[None]:
    """Raise KeyboardInterrupt again whenever Python has dropped one.

    Not in a child that was forked meanwhile: it has its own way to end, and no handler for the
    alarm.
    """
    owner = os.getpid()
    told: Callable[[Any], Any] = sys.unraisablehook
    handled: list[Any] = []
    """How SIGALRM was handled before it was needed."""

    def unraisable(what: Any) -> None:
        if what.exc_type is not KeyboardInterrupt:
            told(what)
            return
        if os.getpid() != owner:
            return
        if not handled:
            handled.append(signal.signal(signal.SIGALRM, signal.default_int_handler))
        signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)

    sys.unraisablehook = unraisable
    try:
        yield
    finally:
        sys.unraisablehook = told
        if handled:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handled[0] or signal.SIG_DFL)
