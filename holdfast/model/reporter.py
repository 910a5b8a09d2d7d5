"""Whom a long operation tells how far it is: one value, silent by default."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Reporter:
    """Called from the operation's own thread; must not block."""

    say: Callable[[str], None] = lambda words: None
    """A few words when something begins: `make the file system`."""
    percent: Callable[[float], None] = lambda percent: None
    """0 to 100, of what was said last."""


SILENT = Reporter()
