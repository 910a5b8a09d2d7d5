"""Whom a long operation tells how far it is: one value, silent by default.

The only way in which an operation reports, wherever it runs: a terminal shows what is said, a job
sends it on as events.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from holdfast.late_dataclass import dataclass
from holdfast.model.event import Event, Found, Progressed, Said
from holdfast.model.finding import Finding


@dataclass(frozen=True)
class Reporter:
    """Called from the operation's own thread; must not block."""

    say: Callable[[str], None] = lambda words: None
    """A few words when something begins: `make the file system`."""
    percent: Callable[[float], None] = lambda percent: None
    """0 to 100, of what was said last."""
    find: Callable[[Finding], None] = lambda finding: None
    """What will be on the receipt, too."""


SILENT = Reporter()


def reporter_to(tell: Callable[[Event], None]) -> Reporter:
    """A reporter that tells everything as events."""
    return Reporter(
        say=lambda words: tell(Said(time.time(), words)),
        percent=lambda percent: tell(Progressed(time.time(), percent)),
        find=lambda finding: tell(Found(time.time(), finding)),
    )
