"""Which part of a time somebody watched: whoever stood still himself blames nobody for it.

A deadline of storage is a judgement: it did not answer, or come back, for so long. An observer that
was stopped (SIGSTOP, a debugger, a frozen control group), whose host was paused, or that got no
processor has not seen that. Invariant: time counts while the observer's loop comes round; what it
missed does not, nor the moment after, in which everybody else wakes up as well and takes what
storage has answered meanwhile. `look` must never block. Times are CLOCK_MONOTONIC in nanoseconds.
"""

from __future__ import annotations

import threading
from math import inf
from time import monotonic_ns

BEAT_SECONDS = 0.5
"""A main loop comes round at least that often: it says so, and looks at everything then."""

_SHORTEST_ROUND_SECONDS = 0.01

_REMEMBERED = 16
"""Spans that were missed. What was missed before them counts again: an observer that is late every
time, on a host with far too much to do, finds out about storage that hangs, too."""

Span = tuple[int, int]
"""From when to when."""


class Watching:
    """What one loop sees. It calls `look`; everything else is for any thread.

    As long as nobody has looked there is no observer, and all time counts.
    """

    def __init__(self, limit_seconds: float = inf) -> None:
        """`limit_seconds`: the shortest time-out that is judged by it."""
        self.round_seconds = min(BEAT_SECONDS, max(limit_seconds / 4, _SHORTEST_ROUND_SECONDS))
        """How often to look, at least."""
        self._late_ns = int(2 * self.round_seconds * 1e9)
        self._seen: tuple[int, tuple[Span, ...]] = (0, ())
        """When it looked last, and what it has missed; replaced as one."""

    def go_on_from(self, looked_ns: int) -> None:
        """An observer before this one looked last then: what nobody saw since was missed."""
        self._seen = looked_ns, ()

    def rested(self, seconds: float) -> None:
        """The observer has waited on purpose since it looked last: so much of that time, at most,
        was no standing still."""
        looked, missed = self._seen
        self._seen = min(monotonic_ns(), looked + int(seconds * 1e9)), missed

    def look(self) -> Span | None:
        """The loop comes round; what it has missed, when it comes late."""
        looked, missed = self._seen
        now = monotonic_ns()
        if not self._is_late(looked, now):
            self._seen = now, missed
            return None
        span = _after(missed, looked), now + self._late_ns
        self._seen = now, (*missed, span)[-_REMEMBERED:]
        return span

    def since(self, since_ns: int) -> int:
        """How much of the time since then was watched, in nanoseconds."""
        looked, missed = self._seen
        now = monotonic_ns()
        if self._is_late(looked, now):  # it stands still: it will say so when it goes on
            missed = (*missed, (_after(missed, looked), now))
        return (now - since_ns) - sum(
            max(0, min(end, now) - max(begin, since_ns)) for begin, end in missed
        )

    def seen_until(self) -> int:
        """Now; while the loop stands still, when it came round last."""
        looked, _ = self._seen
        now = monotonic_ns()
        return looked if self._is_late(looked, now) else now

    def _is_late(self, looked: int, now: int) -> bool:
        return bool(looked) and now - looked > self._late_ns


def _after(missed: tuple[Span, ...], looked: int) -> int:
    """Where the next missed span begins: they do not overlap."""
    return max(looked, missed[-1][1]) if missed else looked


class Patience:
    """A time-out of one thread that waits for others; it runs from when this is made."""

    def __init__(self, seconds: float) -> None:
        self._limit_ns = int(seconds * 1e9)
        self._watching = Watching(seconds)
        self._began = monotonic_ns()
        self._watching.go_on_from(self._began)

    def wait_for(self, thread: threading.Thread) -> None:
        """Wait until that thread has ended, or the time-out has passed."""
        while thread.is_alive() and (left_ns := self._left_ns()) > 0:
            thread.join(min(left_ns / 1e9, self._watching.round_seconds))
            self._watching.look()

    def _left_ns(self) -> int:
        return self._limit_ns - self._watching.since(self._began)
