"""Signals that whoever started the run ignores (`nohup make test &`): its children hear them.

An ignored signal stays ignored in every program that is started; a handler does not. So a handler
that does nothing takes the place of "ignored": the run survives the signal as it was meant to, and
a program under test gets what a shell would give it.
"""

from __future__ import annotations

import signal
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT)


def let_children_hear_signals() -> None:
    """Replace "ignored" by a handler that does nothing. Idempotent."""
    for number in _SIGNALS:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, _survive)


def _survive(number: int, frame: FrameType | None) -> None:
    """As if it were ignored."""
