"""How a worker begins: the first one of a gate, or one that takes over; the main thread waits.

What touches legs or journal is done by threads that can be given up, and the main thread comes
round meanwhile: it says that it lives, and watches over them. Invariant: nobody is asked for the
requests that a predecessor left before the legs are in use.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from time import monotonic_ns

from holdfast.errors import DeadlinePassed, HoldfastError
from holdfast.gate.data.task import LegTask
from holdfast.gate.front import FrontEnd
from holdfast.gate.processes.handover import Handover
from holdfast.gate.processes.partner import Ending
from holdfast.gate.repair.earlier import let_end
from holdfast.gate.repair.names import Names
from holdfast.gate.repair.opening import Before
from holdfast.gate.repair.recovery import Recovery
from holdfast.gate.repair.start import history_failed, start_first
from holdfast.gate.repair.taking_over import take_over
from holdfast.gate.runtime import shared_page
from holdfast.gate.runtime.claims import Hand
from holdfast.gate.runtime.incidents import Incident
from holdfast.late_dataclass import dataclass
from holdfast.model.volume import JournalMode

RESEND_SECONDS = 0.05
"""How long after asking for unanswered requests the last of them is surely read."""

_STOOD_STILL = (Ending.STOPPED, Ending.TRACED, Ending.SILENT)


@dataclass(frozen=True)
class Takeover:
    """One that has just been made, and its receipt."""

    incident: Incident
    resend_ns: int
    """When the kernel was asked for what is unanswered."""

    @property
    def is_settling(self) -> bool:
        """Whether some of that may not have been read yet."""
        return monotonic_ns() < self.resend_ns + RESEND_SECONDS * 1e9


class Start:
    """Of one worker. `look` is what its main thread does in each round meanwhile."""

    def __init__(
        self,
        handover: Handover,
        recovery: Recovery,
        names: Names,
        front: FrontEnd,
        look: Callable[[], None],
    ) -> None:
        self._handover = handover
        self._recovery = recovery
        self._mirror = recovery.mirror
        self._names = names
        self._front = front
        self._look = look

    def first(self) -> dict[str, str]:
        """Judge the legs; why the gate may not start, in words for whoever starts it."""
        mirror, recovery, force = self._mirror, self._recovery, self._handover.force
        try:
            self._attend(LegTask(mirror.hands, self._open_first))
            self._attend(
                LegTask(mirror.hands, lambda hand: start_first(recovery, hand, force=force))
            )
        except HoldfastError as error:
            return {"code": error.code, "message": error.message, "mend": error.mend}
        except OSError as error:
            mend = "Make room there." if error.errno == errno.ENOSPC else ""
            return {"code": "IO", "message": error.strerror or str(error), "mend": mend}
        return {}

    def _open_first(self, hand: Hand) -> None:
        """Open the journal. Raises OSError; HistoryFailed where it has one."""
        configuration = self._mirror.roster.configuration
        try:
            self._mirror.journalling.open()
        except OSError as error:
            if configuration.journal is JournalMode.CONTINUOUS:
                raise history_failed(configuration.name, error) from error
            raise

    def take_over(self) -> Takeover:
        """Go on where the worker before was killed, then ask the kernel for what is unanswered."""
        cells, mirror = self._handover.cells, self._mirror
        mirror.watching.go_on_from(cells[shared_page.WORKER_SILENT_SINCE])
        died = cells[shared_page.WORKER_DIED] or monotonic_ns()
        ending = Ending(cells[shared_page.WORKER_END])
        if ending in _STOOD_STILL:
            died, since = cells[shared_page.WORKER_SILENT_SINCE], died
            cause = ending.words("worker", (since - died) / 1e9)
        else:
            cause = ending.words("worker")
        incident = mirror.incidents.begin("takeover", cause, died)
        cells[shared_page.WORKER_END] = Ending.DIED
        mirror.journalling.is_switched = ending is Ending.SWITCHED
        incident.requests_held = incident.errors_returned = cells[shared_page.UNTOLD_ERRORS]
        cells[shared_page.UNTOLD_ERRORS] = 0
        before = self._let_earlier_end()
        self._open_journal()
        recovery = self._recovery
        self._attend(LegTask(mirror.hands, lambda hand: take_over(recovery, hand, before)))
        if self._handover.kept:
            self._names.took_over(self._handover.kept)
        incident.step("legs opened", f"{len(mirror.roster.readers)} in sync", died)
        self._front.resend()
        resend_ns = monotonic_ns()
        if ending in _STOOD_STILL:
            incident.backlog_until_ns = resend_ns + int(RESEND_SECONDS * 1e9)
        incident.step("unanswered requests asked for again")
        return Takeover(incident, resend_ns)

    def _open_journal(self) -> None:
        """One that cannot be opened has failed, as in use."""
        journalling = self._mirror.journalling
        if self._mirror.roster.configuration.journal is JournalMode.NONE:
            journalling.open()  # touches nothing
            return
        try:
            self._attend(LegTask(self._mirror.hands, journalling.open))
        except OSError as error:
            journalling.cannot_open(error.strerror or str(error))
        except DeadlinePassed:
            journalling.cannot_open("its storage does not answer")

    def _let_earlier_end(self) -> Before:
        """Wait until no worker before can write any more, at most the hang time-out.

        One that hangs inside a leg still has the locks of all: that leg stays away.
        """
        handover, timeout = self._handover, self._mirror.roster.configuration.hang_timeout_seconds
        return Before(let_end(handover.cells, handover.predecessor_pid, timeout), handover.kept)

    def _attend(self, task: LegTask[None]) -> None:
        """Wait for a task. Raises what it raised, and DeadlinePassed when it was given up."""
        task.result_while_looking(self._mirror.watching, self._look)
