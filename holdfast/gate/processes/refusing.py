"""What a keeper does while no worker of it gets to serve: waits longer each time, then refuses.

Workers that die before they serve, or of a defect, are started with a growing delay. Requests wait
meanwhile, as in a hold and no longer: once the hold's time-out has passed they get EIO between two
attempts. Invariant: only while there is no worker is a request answered here. An expendable child
does it, so that nothing in it can keep the keeper from its next attempt.
"""

from __future__ import annotations

import select
import threading
from time import monotonic, monotonic_ns

from holdfast.errors import DeadlinePassed, HoldfastError
from holdfast.gate.front import FrontEnd
from holdfast.gate.front.front_end import FrontEnded, NoRequest
from holdfast.gate.processes.handover import Handover
from holdfast.gate.processes.partner import Ending
from holdfast.gate.runtime import shared_page
from holdfast.gate.runtime.incidents import Incidents
from holdfast.late_dataclass import dataclass
from holdfast.system.children.expendable import in_expendable_child

LONGEST_DELAY_SECONDS = 1.0
"""Between two workers that die before they serve."""

LONGEST_WAIT_SECONDS = 2 * LONGEST_DELAY_SECONDS
"""What `wait` takes at most: for requests that are refused meanwhile."""

STEADY_NS = 10_000_000_000
"""A worker that lived that long served; what ends it then begins a new count."""


@dataclass
class VainStarts:
    """The workers in a row that did not get to serve, or ended themselves because of a defect."""

    handover: Handover
    count: int = 0
    since_ns: int = 0
    """When the first of them died."""
    told: bool = False

    def wait(self) -> None:
        """A worker has died: wait as long as the next one has to; LONGEST_WAIT_SECONDS at most."""
        cells = self.handover.cells
        now_ns = monotonic_ns()
        served = cells[shared_page.SERVING] == cells[shared_page.GENERATION]
        if (served and cells[shared_page.WORKER_END] != Ending.DEFECT) or (
            self.count and served and now_ns - self._began_ns > STEADY_NS
        ):
            self.count, self.told = 0, False
        else:
            self.count += 1
            if self.count == 1:
                self.since_ns = now_ns
            delay_seconds = min(LONGEST_DELAY_SECONDS, 0.005 * 2**self.count)
            if now_ns - self.since_ns >= cells[shared_page.HOLD_TIMEOUT] and self.count > 1:
                self._refuse()
            else:
                threading.Event().wait(delay_seconds)
        self._began_ns = monotonic_ns()

    _began_ns = 0

    def _refuse(self) -> None:
        """Answer what waits with EIO; the first time, leave a receipt."""
        incidents = Incidents(
            self.handover.run_directory.name, self.handover.state_directory / "spool"
        )
        told, self.told = self.told, True

        def refuse() -> None:
            if not told:
                incident = incidents.begin("hold", "no worker can start", self.since_ns)
                incident.step("workers tried", str(self.count), self.since_ns)
                incident.resolve("deadline passed: requests get EIO until a worker starts")
                incidents.close_finished([])
            refuse_waiting(self.handover.front(), self.handover.cells, LONGEST_DELAY_SECONDS)

        try:
            in_expendable_child(refuse, LONGEST_WAIT_SECONDS)
        except (DeadlinePassed, HoldfastError, OSError):
            threading.Event().wait(LONGEST_DELAY_SECONDS)


def refuse_waiting(front: FrontEnd, cells: memoryview, seconds: float) -> None:
    """Answer every request that waits, or comes in that time, with EIO. Raises OSError."""
    front.resend()
    deadline = monotonic() + seconds
    inbox = front.inbox(brief=True)
    poller = select.poll()
    poller.register(front.descriptor, select.POLLIN)
    while (left := deadline - monotonic()) > 0:
        if not poller.poll(int(left * 1000) + 1):
            return
        try:
            request = inbox.next()
            cells[shared_page.KEEPER_ERRORS] += 1
            cells[shared_page.UNTOLD_ERRORS] += 1
            front.refuse(request)
        except NoRequest:
            continue
        except FrontEnded:
            return
