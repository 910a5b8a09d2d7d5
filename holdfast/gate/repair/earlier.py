"""The workers before this one that have not ended: each was killed while a thread hangs in a leg.

Each worker notes itself in the shared page when it begins, before it touches a leg, so whoever
takes over knows all of them, whatever keeper or worker was killed in between. A worker is known by
its number and its start time. Invariants: whoever has not waited for one that a worker served
after has it come to rest, or the hang time-out pass; one that is gone is forgotten.
"""

from __future__ import annotations

import os
from time import monotonic

from holdfast.gate.runtime import shared_page
from holdfast.late_dataclass import dataclass
from holdfast.system.processes.process import has_ended
from holdfast.system.processes.process_state import open_unended, runs_no_code, start_time

_SHORTEST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.001, 0.05
"""Between two looks whether a worker runs no code any more: it does not within a millisecond of
its death, or it hangs."""


@dataclass(frozen=True)
class EarlierWorker:
    """One that has died."""

    pid: int
    started: int
    """Clock ticks after boot."""
    generation: int

    def has_ended(self, timeout_seconds: float = 0.0) -> bool:
        """Wait at most that long for the end of its last thread; whether that is so."""
        watch = open_unended(self.pid, self.started)
        if watch is None:
            return True
        try:
            return has_ended(watch, timeout_seconds)
        finally:
            os.close(watch)

    def is_at_rest(self) -> bool:
        """Whether no thread of it can write any more: it lets go of its locks at once, in
        milliseconds, or when the storage answers in which it hangs then."""
        return self.has_ended() or runs_no_code(self.pid)

    def comes_to_rest(self, deadline: float) -> bool:
        """Wait for that, until then at most; whether it is so."""
        pause = _SHORTEST_PAUSE_SECONDS
        while not self.is_at_rest():
            if monotonic() >= deadline:
                return False
            self.has_ended(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        return True


@dataclass(frozen=True)
class Earlier:
    """All that have not ended, the newest first."""

    ending: tuple[EarlierWorker, ...] = ()
    """Which are at rest."""
    hanging: tuple[EarlierWorker, ...] = ()


def note_self(cells: memoryview) -> None:
    """This process is the worker of the present generation; those that have ended are forgotten."""
    for pid, started, generation in shared_page.noted_workers(cells):
        if EarlierWorker(pid, started, generation).has_ended():
            shared_page.forget_worker(cells, pid, started)
    own = os.getpid()
    shared_page.note_worker(cells, own, start_time(own), cells[shared_page.GENERATION])


def let_end(cells: memoryview, predecessor_pid: int, timeout_seconds: float) -> Earlier:
    """Wait until those are at rest that nobody has waited for, at most the time-out in all.

    One that died before a worker began to serve is inside no leg of that one's: it was waited for,
    and enters nothing any more. A predecessor that runs the code of 0.1 has not noted itself.
    """
    if predecessor_pid not in [pid for pid, _, _ in shared_page.noted_workers(cells)]:
        began, generation = start_time(predecessor_pid), cells[shared_page.GENERATION] - 1
        if began:
            shared_page.note_worker(cells, predecessor_pid, began, generation)
    noted = [EarlierWorker(*each) for each in shared_page.noted_workers(cells)]
    noted.sort(key=lambda each: each.generation, reverse=True)
    earlier = [each for each in noted if each.pid != os.getpid() and not each.has_ended()]
    deadline = monotonic() + timeout_seconds
    ending = tuple(
        each
        for each in earlier
        if each.generation >= cells[shared_page.SERVING] and each.comes_to_rest(deadline)
    )
    return Earlier(ending, tuple(each for each in earlier if each not in ending))
