"""What a gate does on request: one method for each verb of `request.VERBS`, and what it replies.

A command that is cut off because the worker was killed can be sent again; every verb is idempotent
or says that it is done.
"""

from __future__ import annotations

from typing import Any

from holdfast.errors import InUse
from holdfast.gate.front import FrontEnd
from holdfast.gate.processes.control.administrative_hold import AdministrativeHold
from holdfast.gate.processes.control.view import GateView
from holdfast.gate.repair.changes import Changes
from holdfast.gate.repair.history_switching import HistorySwitch
from holdfast.gate.repair.joining_copy import join_copy
from holdfast.gate.repair.names import Names
from holdfast.gate.repair.promoting import promote_copy
from holdfast.gate.runtime.claims import Hand
from holdfast.model.history import HistoryPlace
from holdfast.model.volume import JournalFailurePolicy


class Verbs:
    """Each is called with the hand of its connection. Raises HoldfastError, HoldExpired, OSError,
    GivenUp."""

    def __init__(
        self,
        view: GateView,
        changes: Changes,
        history: HistorySwitch,
        names: Names,
        administrative_hold: AdministrativeHold,
        front: FrontEnd,
    ) -> None:
        self._view = view
        self._changes = changes
        self._history = history
        self._names = names
        self._administrative_hold = administrative_hold
        self._front = front

    def show(self, hand: Hand) -> dict[str, Any]:
        """Everything about the gate."""
        return self._view.everything()

    def look(self, hand: Hand) -> dict[str, Any]:
        """Everything about the gate, after another look at the names of its legs."""
        self._names.look_again()
        return self._view.everything()

    def describe(self, hand: Hand) -> dict[str, Any]:
        """What gate.json says, for a catalog that was lost."""
        return self._view.configuration()

    def hold(self, hand: Hand, seconds: float | None = None, reason: str = "") -> dict[str, Any]:
        """Withhold requests; returns when none is under way any more."""
        self._administrative_hold.begin(seconds, reason)
        return self._view.everything()

    def release(self, hand: Hand) -> dict[str, Any]:
        """End the administrator's hold."""
        self._administrative_hold.end()
        return self._view.everything()

    def add_leg(self, hand: Hand, url: str, spare: bool = False) -> dict[str, Any]:
        """Add a leg, or a spare."""
        if spare:
            self._changes.add_spare(hand, url)
            return self._view.everything()
        return self._leg(self._changes.add(hand, url))

    def remove_leg(self, hand: Hand, leg: str) -> dict[str, Any]:
        """Take a leg, or a spare, out of the volume."""
        if not self._changes.remove_spare(hand, leg):
            self._changes.remove(hand, leg)
        return self._view.everything()

    def replace_leg(self, hand: Hand, leg: str, url: str) -> dict[str, Any]:
        """Put a container in a leg's place, once it is in sync."""
        return self._leg(self._changes.replace(hand, leg, url))

    def promote(self, hand: Hand, url: str, position: int) -> dict[str, Any]:
        """Go on with a copy that has everything up to that position, when no leg is left."""
        return self._leg(promote_copy(self._changes.recovery, hand, url, position))

    def join_copy(self, hand: Hand, url: str, position: int) -> dict[str, Any]:
        """Take a copy that has everything up to that position in as a further leg."""
        at_rest = self._administrative_hold.at_rest
        return self._leg(join_copy(self._changes.recovery, hand, url, position, at_rest))

    def resize(self, hand: Hand, size_bytes: int) -> dict[str, Any]:
        """Grow the volume's legs and the device."""
        self._changes.resize(hand, size_bytes)
        self._front.resized()
        return self._view.everything()

    def configure(
        self,
        hand: Hand,
        descriptor: dict[str, Any] | None = None,
        hold_timeout_seconds: float | None = None,
    ) -> dict[str, Any]:
        """Change what superblocks say of the volume, or the deadline of later holds. Durable."""
        self._changes.configure(hand, descriptor, hold_timeout_seconds)
        return self._view.everything()

    def history(
        self,
        hand: Hand,
        directory: str | None = None,
        keep_seconds: int = 0,
        limit_bytes: int = 0,
        on_failure: str = JournalFailurePolicy.DEGRADE,
    ) -> dict[str, Any]:
        """Keep every write in that directory, or (None) nowhere. Durable."""
        policy = JournalFailurePolicy(on_failure)
        place = HistoryPlace(directory or "", keep_seconds, limit_bytes, policy)
        self._history.switch(hand, place if directory else None)
        return self._view.everything()

    def fault(
        self, hand: Hand, kind: str, leg: str | None = None, seconds: float = 10.0
    ) -> dict[str, Any]:
        """Rehearse a fault of a leg; it ends by itself after that time."""
        return self._leg(self._changes.rehearse(kind, leg, seconds))

    def stop(self, hand: Hand) -> dict[str, Any]:
        """Unmount the device; the gate ends when nothing uses it any more. Raises InUse."""
        answer = self._view.processes()
        try:
            self._front.close()
        except OSError as error:
            raise InUse(
                f"the gate's device is in use: {error.strerror}",
                "Dismount the file system, detach the loop device, and let whoever reads the device"
                " file itself finish (fuser -v names them).",
            ) from error
        return answer

    def _leg(self, number: int) -> dict[str, Any]:
        """Raises NoSuchLeg when it has left meanwhile."""
        return self._view.leg(self._changes.find(str(number)))
