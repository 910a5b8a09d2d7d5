"""Signals by which a terminal stops a process (Ctrl-Z, output from the background): not meanwhile.

Whoever holds others that stand still would keep them standing for as long. Must never touch
SIGSTOP: nobody can.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

_STOPS = (signal.SIGTSTP, signal.SIGTTOU)
"""SIGTTOU: `stty tostop`, and it writes in the background. Nothing of ours reads there."""


def ignore_stops() -> Callable[[], None]:
    """Ignore them, in programs that are started from now on, too; what lets them come again.

    Where somebody has a handler of his own, that stays. Does nothing outside of the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    changed = [number for number in _STOPS if signal.getsignal(number) == signal.SIG_DFL]
    for number in changed:
        signal.signal(number, signal.SIG_IGN)

    def let_come() -> None:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)

    return let_come
