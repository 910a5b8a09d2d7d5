"""Withholding requests: an owner, a reason, a deadline.

Two holds exist. The administrator's is released at its deadline, because storage is fine. The one
for lost storage ends when storage is back; at its deadline the requests get EIO, the one way in
which an application can ever see an error. Both are kept in the shared page, so that the death of a
worker neither ends a hold nor moves its deadline. Time in which the gate itself stood still, and
nobody looked for storage, does not count for the latter.
"""

from __future__ import annotations

import threading
from time import monotonic_ns

from holdfast.gate.runtime import shared_page
from holdfast.gate.runtime.watching import Watching


class HoldExpired(Exception):
    """No storage came back before the deadline: the request is to be answered with EIO."""


class Hold:
    """Where requests wait. Deadlines are enforced by whoever calls `enforce` (the main thread)."""

    def __init__(self, cells: memoryview, timeout_seconds: float, watching: Watching) -> None:
        self._cells = cells
        self._watching = watching
        self._timeout_ns = int(timeout_seconds * 1e9)
        self._condition = threading.Condition()
        self.reason = "no leg is left" if cells[shared_page.STORAGE_HOLD_SINCE] else ""
        self.last_reason = ""
        """Of the last hold for storage, also when it is over; of this worker only."""
        self.administrative = bool(cells[shared_page.ADMINISTRATIVE_HOLD])
        self.administrative_reason = "held by an administrator" if self.administrative else ""

    def set_timeout(self, seconds: float) -> None:
        """How long later holds for lost storage last at most."""
        self._timeout_ns = int(seconds * 1e9)

    @property
    def storage_lost(self) -> bool:
        """Whether requests wait, or fail, for want of storage."""
        return bool(self._cells[shared_page.STORAGE_HOLD_SINCE])

    @property
    def for_room(self) -> bool:
        """Whether the wait is for space on a leg that is otherwise there."""
        return bool(self._cells[shared_page.STORAGE_HOLD_SPACE])

    @property
    def expired(self) -> bool:
        """Whether the deadline for storage to come back has passed."""
        deadline = self._cells[shared_page.STORAGE_HOLD_DEADLINE]
        return self.storage_lost and self._watching.seen_until() >= deadline

    @property
    def deadline_ns(self) -> int:
        """When the hold that ends first ends (CLOCK_MONOTONIC), 0: none."""
        cells = self._cells
        deadlines = [
            cells[shared_page.ADMINISTRATIVE_DEADLINE] if self.administrative else 0,
            cells[shared_page.STORAGE_HOLD_DEADLINE] if self.storage_lost else 0,
        ]
        return min((deadline for deadline in deadlines if deadline), default=0)

    @property
    def administrative_deadline_ns(self) -> int:
        """Of the administrator's hold (CLOCK_MONOTONIC); 0: there is none."""
        return int(self._cells[shared_page.ADMINISTRATIVE_DEADLINE])

    def lose_storage(self, reason: str, *, space: bool = False) -> None:
        """Begin to hold because no leg can take requests; keeps the deadline of a running hold."""
        with self._condition:
            if not self.storage_lost:
                now = monotonic_ns()
                self._cells[shared_page.STORAGE_HOLD_DEADLINE] = now + self._timeout_ns
                self._cells[shared_page.STORAGE_HOLD_SPACE] = int(space)
                self._cells[shared_page.STORAGE_HOLD_SINCE] = now
            elif not space and self.for_room:  # the full leg is lost now: that is another wait
                self._cells[shared_page.STORAGE_HOLD_DEADLINE] = monotonic_ns() + self._timeout_ns
                self._cells[shared_page.STORAGE_HOLD_SPACE] = 0
            self.reason = self.last_reason = reason

    def stood_still(self, begin_ns: int, end_ns: int) -> None:
        """Nobody looked for storage in that time: the deadline for it moves by as much."""
        with self._condition:
            begin_ns = max(begin_ns, self._cells[shared_page.STORAGE_HOLD_SINCE])
            if self.storage_lost and begin_ns < self._cells[shared_page.STORAGE_HOLD_DEADLINE]:
                self._cells[shared_page.STORAGE_HOLD_DEADLINE] += end_ns - begin_ns

    def regain_storage(self) -> None:
        """Storage is back: requests go on."""
        with self._condition:
            self._cells[shared_page.STORAGE_HOLD_SINCE] = 0
            self._cells[shared_page.STORAGE_HOLD_DEADLINE] = 0
            self._cells[shared_page.STORAGE_HOLD_SPACE] = 0
            self.reason = ""
            self._condition.notify_all()

    def wait_for_storage(
        self, at_most_seconds: float | None = None, since_ns: int | None = None
    ) -> None:
        """Wait until storage is back, or for that long. Raises HoldExpired past the deadline.

        A request says since when it has waited: storage that comes and goes begins a new hold each
        time, and nobody waits for longer than one of them.
        """
        with self._condition:
            if self.storage_lost and not self.expired:
                self._wait(at_most_seconds, since_ns)
            if self.storage_lost and (self.expired or self._waited_enough(since_ns)):
                raise HoldExpired

    def pause(self, seconds: float) -> None:
        """Wait for that long, or until a hold ends: for what has a deadline of its own."""
        with self._condition:
            self._condition.wait(seconds)

    def wait_for_place(self, since_ns: int, at_most_seconds: float) -> None:
        """Wait for that long for a place of a leg. Raises HoldExpired past the own deadline."""
        with self._condition:
            if not self._waited_enough(since_ns):
                self._wait(at_most_seconds, since_ns)
            if self._waited_enough(since_ns):
                raise HoldExpired

    def _wait(self, at_most_seconds: float | None, since_ns: int | None) -> None:
        if since_ns is not None:
            own_seconds = max(0.0, (self._timeout_ns - self._watching.since(since_ns)) / 1e9)
            at_most_seconds = min(own_seconds, at_most_seconds or own_seconds)
        self._condition.wait(at_most_seconds)

    def _waited_enough(self, since_ns: int | None) -> bool:
        return since_ns is not None and self._watching.since(since_ns) >= self._timeout_ns

    def begin(self, seconds: float | None, reason: str) -> None:
        """Hold for the administrator, for at most that long; renews a hold that is on."""
        with self._condition:
            deadline = monotonic_ns() + int(seconds * 1e9) if seconds else 0
            self._cells[shared_page.ADMINISTRATIVE_DEADLINE] = deadline
            self._cells[shared_page.ADMINISTRATIVE_HOLD] = 1
            self.administrative_reason = reason
            self.administrative = True
        shared_page.renew_plan(self._cells)

    def release(self) -> bool:
        """End the administrator's hold; whether there was one."""
        with self._condition:
            was = self.administrative
            self.administrative = False
            self._cells[shared_page.ADMINISTRATIVE_HOLD] = 0
            self._cells[shared_page.ADMINISTRATIVE_DEADLINE] = 0
            self._condition.notify_all()
            return was

    def wait_for_release(self) -> None:
        """Wait until no administrator holds the volume."""
        with self._condition:
            while self.administrative:
                self._condition.wait()

    def enforce(self) -> str:
        """Act on deadlines that have passed: `released`, `expired` or an empty string."""
        now = monotonic_ns()
        deadline = self._cells[shared_page.ADMINISTRATIVE_DEADLINE]
        if self.administrative and deadline and now >= deadline:
            self.release()
            return "released"
        if self.expired:
            with self._condition:
                self._condition.notify_all()
            return "expired"
        return ""
