"""Signals that whoever started the run ignores (`nohup make test &`): its children hear them.

An ignored signal stays ignored in every program that is started; a handler does not. So a handler
that does nothing takes the place of "ignored": the run survives the signal as it was meant to, and
a program under test gets what a shell would give it. Workers of xdist are such programs, too: what
the first process found is told to them in the environment.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import FrameType

_VARIABLE = "HOLDFAST_TEST_IGNORED_SIGNALS"
_SIGNALS = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT)


def let_children_hear_signals() -> None:
    """Replace "ignored" by a handler that does nothing. Idempotent."""
    told = {int(word) for word in os.environ.get(_VARIABLE, "").split()}
    ignored = {number for number in _SIGNALS if signal.getsignal(number) is signal.SIG_IGN}
    for number in sorted(told | ignored):
        with suppress(ValueError):  # not the main thread: whoever is, has done it
            signal.signal(number, _survive)
    if told | ignored:
        os.environ[_VARIABLE] = " ".join(str(int(number)) for number in sorted(told | ignored))


def _survive(number: int, frame: FrameType | None) -> None:
    """As if it were ignored."""
