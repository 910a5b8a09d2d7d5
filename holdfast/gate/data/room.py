"""Waiting for room on a leg that is full and otherwise there.

Invariant: a hold for room lasts as long as a write waits for room; one whose deadline has passed
goes on (writes that find no room fail at once) until something could be stored again. With another
leg there, a full one is waited for as long as one that hangs, and fails then.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic_ns

from holdfast.gate.data.hold import Hold
from holdfast.gate.members.leg import Leg
from holdfast.gate.members.roster import Roster
from holdfast.gate.runtime.incidents import Incidents
from holdfast.gate.runtime.watching import Watching
from holdfast.late_dataclass import dataclass

ROOM_CHECK_SECONDS = 0.25
"""How often a write that found no space is tried again."""


@dataclass
class Waiting:
    """One write's wait: since when (0: it did not wait), and whether it was stored."""

    since_ns: int = 0
    stored: bool = False


class Room:
    """Waits of one mirror for room. `began` is told of a hold, `again` when there is room."""

    def __init__(
        self,
        roster: Roster,
        hold: Hold,
        incidents: Incidents,
        watching: Watching,
        began: Callable[[], None],
        again: Callable[[], None],
    ) -> None:
        self._roster = roster
        self._hold = hold
        self._incidents = incidents
        self._watching = watching
        self._began = began
        self._again = again
        self._lock = threading.Lock()
        self.waiting = 0
        """Writes that wait."""

    def wait(self, leg: Leg, write: Waiting, since_ns: int) -> None:
        """A leg had no room for a write: wait a little. `over` must follow. Raises HoldExpired."""
        reason = f"leg {leg.number} ({leg.url}) has no space left"
        if not write.since_ns:
            write.since_ns = monotonic_ns()
            with self._lock:
                self.waiting += 1
        others = [other for other in self._roster.readers if other is not leg]
        limit_seconds = self._roster.configuration.hang_timeout_seconds
        if others:  # they have it: no hold, nor its deadline
            if self._watching.since(write.since_ns) / 1e9 >= limit_seconds:
                self._roster.fail(leg, "no space left")
            else:
                self._incidents.reflex("failover", reason)
                self._hold.pause(ROOM_CHECK_SECONDS)
            return
        if not self._hold.storage_lost:
            self._hold.lose_storage(reason, space=True)
            incident = self._incidents.reflex("hold", reason)
            incident.step("held for room", reason)
            self._began()
        self._hold.wait_for_storage(ROOM_CHECK_SECONDS, since_ns)

    def over(self, write: Waiting) -> None:
        """A write was stored, or has waited in vain."""
        if write.since_ns:
            with self._lock:
                self.waiting -= 1
        if write.stored and self._hold.for_room and not self.waiting:
            self._again()
