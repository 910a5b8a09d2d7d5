"""What is told, with a receipt, when something goes wrong; and the hold when no leg is left.

Invariant: a hold begins with the loss that it is for, under the roster's lock, which the caller
has: nobody ends it for another reason. Touches no leg, and never blocks.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfast.gate.data.hold import Hold
from holdfast.gate.members.leg import Leg
from holdfast.gate.runtime import shared_page
from holdfast.gate.runtime.incidents import Incidents


class Alarms:
    """The alarms of one mirror. `wake` has the main loop look at everything."""

    def __init__(
        self, cells: memoryview, hold: Hold, incidents: Incidents, wake: Callable[[], None]
    ) -> None:
        self._cells = cells
        self._hold = hold
        self._incidents = incidents
        self._wake = wake

    def leg_failed(self, leg: Leg, reason: str) -> None:
        """A leg was left out; another one goes on."""
        incident = self._incidents.reflex("failover", f"leg {leg.number} {reason}")
        incident.step(f"leg {leg.number} failed", reason)
        self._wake()

    def last_lost(self, leg: Leg, reason: str) -> None:
        """No leg is left."""
        self._cells[shared_page.UNREMEMBERED] = 0
        self._hold.lose_storage(f"leg {leg.number} ({leg.url}) {reason}; no leg is left")
        incident = self._incidents.reflex("hold", f"leg {leg.number} {reason}; no leg is left")
        incident.step(f"leg {leg.number} lost, held", reason)
        self._wake()

    def unsaved(self, reason: str) -> None:
        """gate.json is behind the legs."""
        incident = self._incidents.reflex("state", f"gate.json cannot be written: {reason}")
        incident.step("gate.json is behind the legs", reason)
