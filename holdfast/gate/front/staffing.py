"""How many threads serve: as many as the storage can use.

A thread inside storage that lets it sleep (a disk, a server) does nothing meanwhile, and a request
that waits could be under way. So while requests wait, no thread waits for one, and the threads that
there are sleep for most of the time that a request takes, as many again are started, up to a bound.
Storage that costs the processor's time and nothing else (RAM) never fulfils the last condition: two
threads were fastest there, whatever the load.

The main thread looks; it starts no serving thread itself, as that may have to wait for memory.
Invariants: only requests that were answered count, so storage that hangs gets no more threads to
hang in it; none is added while a thread that was given up is still inside. There are never fewer
than two. Times are nanoseconds.
"""

from __future__ import annotations

import logging
import threading
from math import ceil
from pathlib import Path
from time import monotonic_ns
from typing import NamedTuple

from holdfast.gate.data.compiled import COMPILED
from holdfast.gate.front.serving import FEWEST, Server, ServingThread
from holdfast.gate.runtime.watching import BEAT_SECONDS
from holdfast.system.resources.memory import available_bytes

_log = logging.getLogger(__name__)

MOST = 16
"""On a disk, 32 requests at once: 0.17 of a plain loop device with 2 threads, 0.54 with so many."""

_SLOTS_FOR_LEGS = 48
"""Each leg may hang, one after the other, with all threads in it, and each request still needs a
thread then. The other slots are for conversations and tasks."""

_SOON_SECONDS = 0.05
"""How soon to look again when threads may be added. A look takes some hundred microseconds."""

_SHORTEST_NS = 20_000_000
"""A shorter window says nothing: a disk takes up to 10 ms for a request."""

_QUIET_NS = 5_000_000_000
"""Threads that were not needed for so long end: a pause between two bursts is shorter."""

_PAUSE_NS = 10_000_000_000
"""After no thread could be started."""

_BUSY = 0.6
"""Share of the time in which a thread has a request, from which on it has enough to do. None is at
1: it receives and waits for a processor as well. Requests one after the other give two threads 0.5.
"""

_SPARE_BYTES = 256 << 20
"""Of the host's memory, without which none is added: ten times what all of them take."""

_LITTLE_SLEEP = 1 / 3
"""Threads that sleep for less than this part of the time that they run gain nothing by being many;
those that sleep for longer than they run would gain by being more. Between the two nothing changes.
"""


class Spent(NamedTuple):
    """Of a thread, or of all together, ns."""

    running: int = 0
    waiting: int = 0
    """For a processor: it says nothing about storage."""


def spent(thread: threading.Thread) -> Spent | None:
    """Since the thread began; None: the kernel does not say.

    /proc/PID/schedstat (Documentation/scheduler/sched-stats.rst), with CONFIG_SCHED_INFO.
    """
    try:
        told = Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text().split()
        return Spent(int(told[0]), int(told[1]))
    except (OSError, ValueError, IndexError):
        return None


class Window:
    """What the threads have done since the last look."""

    def __init__(self, threads: list[ServingThread], *, watched: bool) -> None:
        """`watched`: also whether they slept, which takes some system calls for each."""
        self.begin_ns = monotonic_ns()
        self.watched = watched
        self._served = {thread: thread.served_ns() for thread in threads}
        self._spent = {thread: spent(thread) for thread in threads} if watched else {}

    def served_ns(self, threads: list[ServingThread]) -> int:
        """Time in which they had a request, added up. One that came meanwhile began with none."""
        return sum(thread.served_ns() - self._served.get(thread, 0) for thread in threads)

    def spent(self, threads: list[ServingThread]) -> Spent | None:
        """By all of them; None: it was not watched."""
        if not self.watched:
            return None
        running = waiting = 0
        for thread in threads:
            before, now = self._spent.get(thread, Spent()), spent(thread)
            if before is None or now is None:
                return None
            running += now.running - before.running
            waiting += now.waiting - before.waiting
        return Spent(running, waiting)


class Period:
    """What was of use in a time long enough to let threads go at its end."""

    def __init__(self) -> None:
        self.begin_ns = monotonic_ns()
        self.needed = FEWEST
        self._asleep_ns = self._running_ns = 0

    def note(self, at_once: float, asleep_ns: int, running_ns: int) -> None:
        """One window of it; `at_once`: requests that were in hand, on average."""
        self.needed = max(self.needed, ceil(at_once) + 1)
        self._asleep_ns += asleep_ns
        self._running_ns += running_ns

    @property
    def wasted(self) -> bool:
        """Whether the threads, where they had enough to do, took turns on the processors."""
        return self._asleep_ns < _LITTLE_SLEEP * self._running_ns


class Staffing:
    """Of one server. `look` is for the main thread."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._recruiter = threading.Thread()
        self._window = Window([], watched=False)
        self._period = Period()
        self._not_before_ns = 0

    @property
    def bound(self) -> int:
        """Most threads that a volume with so many legs may have."""
        legs = len(self._server.mirror.roster.configuration.legs)
        return max(FEWEST, min(MOST, _SLOTS_FOR_LEGS // (legs + 1)))

    def look(self) -> float:
        """Have threads added, or end, where that is of use; seconds until to look again."""
        if COMPILED is None:
            return BEAT_SECONDS
        crew, window, now = self._server.crew(), self._window, monotonic_ns()
        elapsed = now - window.begin_ns
        if elapsed < _SHORTEST_NS:
            return _SOON_SECONDS
        served = window.served_ns(crew)
        at_once = served / elapsed
        is_busy = at_once >= _BUSY * len(crew)
        running, waiting = (window.spent(crew) if is_busy else None) or (0, served)
        asleep = max(0, served - running - waiting)
        if len(crew) < FEWEST:  # one was called back that was just ending
            self._recruit_apart(FEWEST - len(crew))
        elif asleep > running:
            self._grow(len(crew))
        self._period.note(at_once, asleep, running)
        if now - self._period.begin_ns >= _QUIET_NS:
            wasted = self._stuck or self._period.wasted
            self._server.dismiss(FEWEST if wasted else min(self._period.needed, self.bound))
            self._period = Period()
        self._window = Window(crew, watched=is_busy or at_once >= 1)
        is_promising = asleep > running or (is_busy and not window.watched)
        return _SOON_SECONDS if is_promising and len(crew) < self.bound else BEAT_SECONDS

    @property
    def _stuck(self) -> bool:
        """Whether a thread that was given up is still inside storage."""
        return any(hand.given_up for hand in self._server.mirror.hands.all())

    def _grow(self, crew: int) -> None:
        """As many again, if requests wait."""
        more = min(crew, self.bound - crew)
        if more <= 0 or self._stuck or not self._server.request_waits():
            return
        if available_bytes() < _SPARE_BYTES:
            return
        more -= self._server.call_back(more)
        more = min(more, self.bound - len(self._server.threads))
        if more > 0:
            self._recruit_apart(more)

    def _recruit_apart(self, how_many: int) -> None:
        """Have them started by another thread, unless one does so, or had no room just now."""
        if self._recruiter.is_alive() or monotonic_ns() < self._not_before_ns:
            return
        self._recruiter = threading.Thread(
            target=self._recruit, args=(how_many,), name="recruiter", daemon=True
        )
        try:
            self._recruiter.start()
        except RuntimeError:
            self._found_no_room()

    def _recruit(self, how_many: int) -> None:
        """Start threads. Where there is no room for one, those that are there go on."""
        try:
            for _ in range(how_many):
                self._server.add_thread(None)
        except (RuntimeError, OSError, MemoryError):
            self._found_no_room()

    def _found_no_room(self) -> None:
        self._not_before_ns = monotonic_ns() + _PAUSE_NS
        _log.info("no room for another serving thread: %d serve", len(self._server.crew()))
