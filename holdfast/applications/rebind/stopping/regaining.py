"""Takes over processes that another agent left parked.

Those that still wait in their harbour are seized there. Those that left it at their deadline run,
with placeholders in place of handles, for ever if nobody puts that right: they are stopped once
more, and what is a placeholder still is parked again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress

from holdfast.applications.rebind.agent.process_record import ProcessRecord
from holdfast.applications.rebind.agent.tracee import Tracee
from holdfast.applications.rebind.handles import DRIVERS
from holdfast.applications.rebind.parking.notes import HandleNote
from holdfast.applications.rebind.parking.record import ParkedProcess
from holdfast.applications.rebind.parking.stopped_process import (
    Processes,
    StoppedProcess,
    rights_of_process,
)
from holdfast.applications.rebind.tracing.errors import Uncooperative
from holdfast.applications.rebind.tracing.threads import began_at
from holdfast.applications.rebind.tracing.time_budget import TimeBudget, TimeBudgets
from holdfast.errors import DeadlinePassed, Refused

LATE_SECONDS = 10.0
"""How long those may stand once more that have left the harbour at their deadline."""


class Regaining:
    """The taking over of the processes of one record."""

    def __init__(self, processes: Processes, deadline_ns: int, time_budgets: TimeBudgets) -> None:
        """`processes` gets those that are taken over."""
        self._processes = processes
        self.deadline_ns = deadline_ns
        """When they leave the harbour by themselves; later when some had left it already."""
        self._time_budgets = time_budgets

    def regain(self, parked: Sequence[ParkedProcess]) -> None:
        """Take over every process; one that cannot be keeps nobody else from being finished.

        Raises DeadlinePassed, Refused when it is the only one: it stays parked then.
        """
        left_out: list[ParkedProcess] = []
        for entry in parked:
            try:
                self._regain(entry)
            except (DeadlinePassed, Refused):
                left_out.append(entry)
        for entry in left_out:
            try:
                self._regain(entry)
            except (DeadlinePassed, Refused) as error:
                if not self._processes:
                    raise
                self._processes.uncooperative.append((entry.notes, str(error)))

    def _regain(self, entry: ParkedProcess) -> None:
        record = entry.process
        time_budget = self._time_budgets.for_user_of(record.pid)
        try:
            tracee = Tracee.regain(record, time_budget=time_budget)
            late = tracee is None
            if tracee is None:
                tracee = self._stop_late(record, time_budget)
        except Uncooperative as error:
            self._processes.uncooperative.append((entry.notes, error.strerror or str(error)))
            return
        if tracee is None:
            return
        process = StoppedProcess(
            tracee.pid,
            entry.name,
            tracee,
            list(entry.notes),
            rights=rights_of_process(tracee.pid),
        )
        self._processes[tracee.pid] = process
        if late:
            with self._processes.unless_it_ends(process):
                process.notes = _still_parked(process)
                if not process.notes:
                    self._processes.pop(tracee.pid).tracee.release()

    def _stop_late(self, record: ProcessRecord, time_budget: TimeBudget) -> Tracee | None:
        """Stop one that has left the harbour, its deadline being past; None: it has ended."""
        now_ns = time.monotonic_ns()
        self.deadline_ns = max(self.deadline_ns, now_ns + int(LATE_SECONDS * 1e9))
        try:
            if began_at(record.pid) == record.start_time:
                return Tracee.stop(
                    record.pid, self.deadline_ns, time_budget=time_budget, left_by=record.token
                )
        except Uncooperative:
            raise
        except ProcessLookupError:
            pass
        return None


def _still_parked(process: StoppedProcess) -> list[HandleNote]:
    """The notes of a stopped process whose handles are placeholders now.

    What the program duplicated or handed on to children since is not found.
    """
    found = []
    for note in process.notes:
        with suppress(OSError):  # closed since
            if DRIVERS[note.handle.kind].is_parked(process, note):
                found.append(note)
    return found
