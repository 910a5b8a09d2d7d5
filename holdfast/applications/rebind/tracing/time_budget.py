"""How long everybody may have to wait for the processes of one user.

A call that we make inside a process takes microseconds. Whoever may write to the memory of a
process (its user, from another process) can make it take for ever. Invariant: all processes of one
user together keep the others waiting for a quarter of the time to the deadline at most, and all
users together for half of it. Only the clock is read here; nobody is stopped.
"""

from __future__ import annotations

from holdfast.system.processes.process_state import user_of

_SHARE_OF_ALL, _SHARE_OF_ONE = 1 / 2, 1 / 4
"""Of the time to the deadline: for all users together, and for one of them."""

_MOST_AT_ONCE = 1 / 3
"""Of what is left: whoever comes later has some, too."""

_LEAST_SECONDS, _SPENT_SECONDS = 0.1, 0.005
"""For one call: a busy machine takes some time to run a thread; when nothing is left at all."""

_FREE_SECONDS = 0.02
"""What does not count: to be scheduled."""

DEFAULT_SECONDS = 60.0
"""To the deadline, when nothing is known of one."""


class TimeBudget:
    """What is left of the time for one user's processes; `of_all`: for those of everybody."""

    def __init__(self, seconds: float, of_all: TimeBudget | None = None) -> None:
        self._left_seconds = seconds
        self._of_all = of_all

    @property
    def _left(self) -> float:
        of_all = self._left_seconds if self._of_all is None else self._of_all._left_seconds
        return min(self._left_seconds, of_all)

    @property
    def limit_seconds(self) -> float:
        """How long the next call may take, in seconds."""
        left = self._left
        return max(left * _MOST_AT_ONCE, _LEAST_SECONDS) if left > 0 else _SPENT_SECONDS

    def spend(self, seconds: float) -> None:
        """Take off what everybody has waited for one call."""
        if seconds > _FREE_SECONDS:
            self._left_seconds -= seconds
            if self._of_all is not None:
                self._of_all.spend(seconds)


class TimeBudgets:
    """One time budget for each user, for one standstill."""

    def __init__(self, seconds: float = DEFAULT_SECONDS) -> None:
        """`seconds`: to the deadline."""
        self._seconds = max(seconds, 0.0)
        self._of_all = TimeBudget(self._seconds * _SHARE_OF_ALL)
        self._of: dict[int, TimeBudget] = {}

    def for_user_of(self, pid: int) -> TimeBudget:
        """The budget of the user whose process this is."""
        user_id = user_of(pid)
        if user_id not in self._of:
            self._of[user_id] = TimeBudget(self._seconds * _SHARE_OF_ONE, self._of_all)
        return self._of[user_id]
