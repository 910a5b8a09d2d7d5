"""Overlapping writes, one after the other.

Two writes to the same blocks may reach the legs and the journal in different orders if they run at
the same time; legs that are mirrors would differ then. Each writer enters its byte range first and
waits for those that overlap. Resynchronisation enters the region that it copies in the same way.
"""

from __future__ import annotations

import threading

from holdfast.gate.runtime.claims import Hand


class Ranges:
    """Byte ranges in use, at most one per hand. Never held across a wait for anything but a leg."""

    def __init__(self) -> None:
        self._condition = threading.Condition(threading.Lock())
        self._held: dict[Hand, tuple[int, int]] = {}
        self._waiting = 0

    def enter(self, hand: Hand, offset: int, length: int) -> None:
        """Wait until no other hand uses a byte of the range, then hold it."""
        end = offset + length
        with self._condition:
            while any(start < end and offset < stop for start, stop in self._held.values()):
                self._waiting += 1
                self._condition.wait()
                self._waiting -= 1
            self._held[hand] = (offset, end)

    def leave(self, hand: Hand) -> None:
        """Let go of the hand's range; idempotent, and the watchdog's duty for a stuck hand."""
        with self._condition:
            if self._held.pop(hand, None) is not None and self._waiting:
                self._condition.notify_all()

    def holds(self, hand: Hand) -> bool:
        """Whether the hand is in a range."""
        return hand in self._held

    def touches(self, offset: int, length: int) -> bool:
        """Whether any hand uses a byte of the range now."""
        end = offset + length
        with self._condition:
            return any(start < end and offset < stop for start, stop in self._held.values())
