"""What the data path does by itself while something is lost, until it is back, and its receipts.

Requests wait in the hold; a leg that is back ends it; and where the coordinator has not agreed to
the legs' epoch, requests that need it are held as well. Touches no leg, except to make an epoch
durable. See `alarms` for how a hold begins.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfast.gate.data.hold import Hold
from holdfast.gate.members.roster import Roster
from holdfast.gate.members.settling import Settling
from holdfast.gate.runtime import shared_page
from holdfast.gate.runtime.claims import Hand
from holdfast.gate.runtime.incidents import Incidents

ASK_AGAIN_SECONDS = 1.0
"""How often a coordinator that did not answer is asked again."""


class Reflexes:
    """The reflexes of one mirror. `wake` has the main loop look at everything."""

    def __init__(
        self,
        cells: memoryview,
        roster: Roster,
        settling: Settling,
        hold: Hold,
        incidents: Incidents,
        wake: Callable[[], None],
    ) -> None:
        self._cells = cells
        self._roster = roster
        self._settling = settling
        self._hold = hold
        self._incidents = incidents
        self._wake = wake

    @property
    def unremembered(self) -> bool:
        """Whether requests are held, with legs in sync, until the coordinator agrees to their
        epoch."""
        return bool(self._cells[shared_page.UNREMEMBERED])

    def settle(self, hand: Hand) -> bool:
        """Make the present epoch durable; False, and a hold begins, when the coordinator has not
        agreed to it: nothing that needs it may be answered. As Settling.settle otherwise."""
        if self._settling.settle(hand):
            self.end_unremembered()
            return True
        unsaved = self._roster.memory.unsaved
        reason = f"the epoch of the legs is not remembered: {unsaved}"
        self._hold.lose_storage(reason)
        if not self.unremembered:
            self._cells[shared_page.UNREMEMBERED] = 1  # later than the hold: who sees it ends it
            self._incidents.reflex("hold", reason).step("held", unsaved)
            self._wake()
        return False

    def end_unremembered(self) -> None:
        """The hold for the coordinator ends, if it has agreed."""
        if not self.unremembered:
            return
        with self._roster.lock:  # else the last leg could be lost just now
            if not self._roster.unsettled:
                self._end_hold("the epoch is remembered")

    def wait(self, since_ns: int) -> None:
        """Wait as a request that found no storage; it is issued again afterwards.

        Raises HoldExpired past its deadline.
        """
        again_seconds = ASK_AGAIN_SECONDS if self.unremembered else None
        self._hold.wait_for_storage(again_seconds, since_ns)

    def storage_back(self, how: str, replayed: int = 0) -> None:
        """A current leg is present again: end the hold, unless that leg is lost just now."""
        with self._roster.lock:
            self._end_hold(how, replayed)

    def _end_hold(self, how: str, replayed: int = 0) -> None:
        """The caller has the roster's lock: a loss comes before, or begins another hold."""
        if self._roster.superseded or not self._roster.readers:
            return
        self._cells[shared_page.UNREMEMBERED] = 0
        self._hold.regain_storage()
        for incident in self._incidents.open:
            if incident.strategy == "hold" and not incident.resolved_ns and not incident.manual:
                incident.bytes_replayed += replayed
                incident.step(how, "continued")
        self._wake()
