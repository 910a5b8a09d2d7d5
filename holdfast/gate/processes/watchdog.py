"""The watchdog: takes the work of threads that hang inside a leg, journal or state directory.

Its rounds are those of the worker's main thread, which touches none of them. Invariant: a thread is
given up when it was seen inside for the hang time-out; time in which nobody watched (see watching)
is no fault of storage.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic_ns

from holdfast.gate.data.mirror import Mirror
from holdfast.gate.runtime.claims import Hand
from holdfast.gate.runtime.shared_page import LEG

STANDSTILL_SECONDS = 5.0
"""A gate that stood still for so long (its default hang time-out) says so in a receipt:
applications have waited, and nothing else tells why."""


class Watchdog:
    """The watchdog of one worker. `replace` has a successor do the work of a hand that was given
    up."""

    def __init__(
        self, mirror: Mirror, hang_timeout_seconds: float, replace: Callable[[Hand], None]
    ) -> None:
        self._mirror = mirror
        self._hang_timeout_seconds = hang_timeout_seconds
        self._replace = replace

    def look(self) -> float:
        """Take the work of threads that hang; seconds until to look again at the latest."""
        mirror, watching = self._mirror, self._mirror.watching
        missed = watching.look()
        if missed is not None:
            mirror.hold.stood_still(*missed)
            self._tell_of(*missed)
        limit = int(self._hang_timeout_seconds * 1e9)
        longest = 0
        for hand in mirror.hands.all():
            if hand.given_up or not hand.cells[LEG]:
                continue
            entered = hand.entered_ns
            inside = watching.since(entered)
            if inside < limit:
                longest = max(longest, inside)
                continue
            number = hand.give_up(entered)
            if number:
                self._give_up(hand, number)
                if not mirror.uses(number):
                    self._leave(number)
        return min(watching.round_seconds, max(0.001, (limit - longest) / 1e9))

    def _tell_of(self, begin_ns: int, end_ns: int) -> None:
        """Nobody served, or looked for storage, in that time."""
        seconds = (min(end_ns, monotonic_ns()) - begin_ns) / 1e9
        if seconds < STANDSTILL_SECONDS:
            return
        what = f"the gate was stopped, or got no processor, for {seconds:.1f} s"
        incident = self._mirror.incidents.reflex("standstill", what, begin_ns)
        incident.step("the gate goes on", what)
        if incident.strategy == "standstill":
            incident.resolve("continued")

    def _leave(self, number: int) -> None:
        """A leg has failed because it hangs: nobody waits for it any longer.

        Otherwise a thread that went in last, holding a lock, would keep all others waiting for a
        second time-out.
        """
        for hand in self._mirror.hands.all():
            if hand.give_up(monotonic_ns(), inside=number):
                self._give_up(hand, number)

    def _give_up(self, hand: Hand, number: int) -> None:
        """Free what a hand held that was given up, and let a successor do its work."""
        self._mirror.give_up(hand, number, self._hang_timeout_seconds)
        self._replace(hand)
