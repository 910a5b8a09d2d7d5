"""Overlapping writes, one after the other.

Two writes to the same blocks may reach the legs and the journal in different orders if they run at
the same time; legs that are mirrors would differ then. Each writer enters its byte range first and
waits for those that overlap. Resynchronisation enters the region that it copies in the same way.
"""

from __future__ import annotations

import threading

from holdfast.gate.data.compiled import held_ranges
from holdfast.gate.runtime.claims import Hand


class Ranges:
    """Byte ranges in use, at most one per hand. Never held across a wait for anything but a leg."""

    def __init__(self) -> None:
        self._condition = threading.Condition(threading.Lock())
        self.held = held_ranges()
        """Compiled code takes ranges there, too. It never waits: a request whose range is taken
        comes here."""

    def enter(self, hand: Hand, offset: int, length: int) -> None:
        """Wait until no other hand uses a byte of the range, then hold it."""
        with self._condition:
            while not self.held.take(hand.slot, hand.number, offset, offset + length):
                self._condition.wait()

    def leave(self, hand: Hand) -> None:
        """Let go of the hand's range; idempotent, and the watchdog's duty for a stuck hand."""
        if self.held.leave(hand.slot, hand.number):
            self.wake()

    def wake(self) -> None:
        """A range was released that somebody waits for."""
        with self._condition:
            self._condition.notify_all()

    def holds(self, hand: Hand) -> bool:
        """Whether the hand is in a range."""
        return any(holder == hand.number for holder, _, _ in self.held.held())

    def touches(self, offset: int, length: int) -> bool:
        """Whether any hand uses a byte of the range now."""
        end = offset + length
        return any(start < end and offset < stop for _, start, stop in self.held.held())
