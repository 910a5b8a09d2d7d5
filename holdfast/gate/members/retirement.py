"""Closing legs that failed or left, while other threads may still be inside them."""

from __future__ import annotations

import threading

from holdfast.gate.members.leg import Leg
from holdfast.gate.runtime.claims import Hand, Hands
from holdfast.gate.runtime.shared_page import BUSY_SINCE


class Retired:
    """Legs that are not used any more; the main loop closes them (Retirement)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._legs: list[Leg] = []

    def add(self, *legs: Leg) -> None:
        """They left: each is closed as soon as no thread can know it."""
        with self._lock:
            self._legs += legs

    def take(self) -> list[Leg]:
        """Those that were added since the last call."""
        with self._lock:
            legs, self._legs = self._legs, []
            return legs


class Retirement:
    """A leg on its way out. Its descriptor's number is given back when no thread can know it.

    Closing may block on hung storage, so a thread of its own does it.
    """

    def __init__(self, leg: Leg, hands: Hands) -> None:
        self.leg = leg
        self._knowing: dict[Hand, int] = {
            hand: hand.cells[BUSY_SINCE]
            for hand in hands.all()
            # An idle server knows no leg; who was given up may be inside it still.
            if hand.cells[BUSY_SINCE] or hand.given_up or not hand.serving
        }
        self._closer = threading.Thread(target=leg.close, name="close-leg", daemon=True)
        self._closer.start()

    def over(self, hands: Hands) -> bool:
        """Whether every thread that worked when the leg went has gone on to something else."""
        present = set(hands.all())
        for hand, since in list(self._knowing.items()):
            served = since and not hand.given_up and hand.cells[BUSY_SINCE] != since
            if hand not in present or served:
                del self._knowing[hand]
        if self._knowing or self._closer.is_alive():
            return False
        self.leg.forget()
        return True
