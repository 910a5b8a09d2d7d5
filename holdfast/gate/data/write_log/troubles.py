"""What is told of a history that fails, and of its return: one receipt for both."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from holdfast.gate.runtime.incidents import Incident, Incidents

MOST_STEPS = 20
"""Of one receipt: a history may fail for days."""


class HistoryTroubles:
    """See Troubles. Called by the carrying thread and by the watchdog."""

    def __init__(
        self,
        incidents: Incidents,
        wake: Callable[[], None],
        *,
        goes_on_without: bool,
        is_begun: Callable[[], bool],
    ) -> None:
        """`wake` has the main loop look at everything. `is_begun`: whether this worker is the first
        that keeps it, as somebody asked for: what was not kept before that is no news."""
        self._is_begun = is_begun
        self._incidents = incidents
        self._wake = wake
        self._goes_on_without = goes_on_without
        # As `history`, compiled code goes on serving: nobody waits, and that may last for days.
        self._strategy = "history" if goes_on_without else "journal"
        self._is_first = True
        self._lost: set[int] = set()
        """Positions of copies that the history does not lead on from any more."""
        self._lock = threading.Lock()
        self._open: Incident | None = None

    def failed(self, reason: str) -> None:
        """Never in silence."""
        words = "going on without" if self._goes_on_without else "flushes wait"
        with self._lock:
            if self._open is None:
                self._open = self._incidents.begin(self._strategy, f"history: {reason}")
                self._open.manual = True
            told = {step.outcome for step in self._open.steps}
            if reason not in told and len(self._open.steps) < MOST_STEPS:
                self._open.step(f"the history fails, {words}", reason)
        self._look()

    def back(self, *, whole: bool) -> None:
        """Whether anything is missing is in the history, too."""
        outcome = "the history goes on, whole" if whole else "the history goes on, with a gap"
        with self._lock:
            incident, self._open = self._open, None
        is_first, self._is_first = self._is_first, False
        if incident is None and is_first and self._is_begun():
            return
        if incident is None:
            incident = self._incidents.begin(self._strategy, "history: what came before is gone")
        incident.step(outcome)
        incident.resolve(outcome)
        self._look()

    def lose(self, positions: Sequence[int]) -> None:
        """A receipt before it is done: no history leads on from these copies then. Once for each,
        though what is removed may stay."""
        copies = ", ".join(str(each) for each in positions if each not in self._lost)
        if not copies:
            return
        self._lost |= set(positions)
        words = f"history: what the copies at position {copies} need is removed: there is no room"
        incident = self._incidents.begin("history", words)
        incident.step("copies do not follow any more", "make another one: holdfast copy add")
        incident.resolve("older history is removed")
        self._look()

    def _look(self) -> None:
        """A thread with descriptors of its own has no bell: the main loop comes round anyway."""
        with suppress(OSError):
            self._wake()
