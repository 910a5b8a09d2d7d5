"""When a leg that is away is looked at: early, then less often, and never twice at once.

A child of the keeper does it, as nothing certain is known of the leg's storage. Used by the main
thread of the worker; never blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast.gate.data.mirror import Mirror
from holdfast.gate.members.configuration import LegEntry
from holdfast.late_dataclass import dataclass

FIRST_PROBE_SECONDS = 0.1
LONGEST_PROBE_SECONDS = 5.0
HELD_PROBE_SECONDS = 0.5
"""The longest pause while requests wait for the leg."""

STEADY_SECONDS = 60.0
"""A leg that stayed that long is looked at early again when it fails."""


_BUSY_SECONDS = 0.25


@dataclass
class _Watch:
    """When a leg is looked at next, and how patient we have become with it."""

    delay_seconds: float = FIRST_PROBE_SECONDS
    due: float = 0.0
    asked: bool = False
    present_since: float = 0.0


class Probing:
    """The probes of one worker. `ask` sends a question to the keeper."""

    def __init__(self, mirror: Mirror, ask: Callable[[dict[str, Any]], bool]) -> None:
        self._roster = mirror.roster
        self._hands = mirror.hands
        self._ask = ask
        self._watches: dict[int, _Watch] = {}

    def present(self, number: int, now: float) -> None:
        """That leg is in use."""
        watch = self._watches.setdefault(number, _Watch())
        watch.asked = False
        watch.present_since = watch.present_since or now
        if now - watch.present_since > STEADY_SECONDS:
            watch.delay_seconds = FIRST_PROBE_SECONDS
        watch.due = 0.0

    def away(self, entry: LegEntry, now: float, *, busy: bool) -> float:
        """That leg is not: have it looked at when it is due; seconds until the next time.

        `busy`: it must not be looked at now, or need not.
        """
        watch = self._watches.setdefault(entry.number, _Watch())
        if not watch.due:
            watch.due, watch.present_since = now + watch.delay_seconds, 0.0
        if busy or watch.asked:
            return _BUSY_SECONDS
        arrived_ns = self._roster.arrived_ns.get(entry.number, 0)
        if now >= watch.due and not self._hands.stuck_in(entry.number, arrived_ns):
            timeout = self._roster.configuration.hang_timeout_seconds
            watch.asked = self._ask(
                {"probe": entry.number, "url": entry.url, "timeout_seconds": timeout}
            )
            longest = LONGEST_PROBE_SECONDS if self._roster.readers else HELD_PROBE_SECONDS
            watch.delay_seconds = min(2 * watch.delay_seconds, longest)
            watch.due = now + watch.delay_seconds
        return max(0.02, watch.due - now)

    def answered(self, number: int) -> None:
        """The keeper has said what it found."""
        if number in self._watches:
            self._watches[number].asked = False

    def forget_questions(self) -> None:
        """The keeper that was asked is gone: ask again."""
        for watch in self._watches.values():
            watch.asked = False
