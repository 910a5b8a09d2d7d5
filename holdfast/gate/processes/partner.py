"""Whether the other process of the pair still works: keeper and worker watch each other.

A main loop says in the shared page each time it comes round. One that does not come round is as
dead as one that has ended: its partner kills it and starts another. Invariant: silence is counted
in the observer's own rounds, so a host that was suspended, a host too busy for both, and a pair
that was stopped together are no silence. Must never block, and never judge by the clock alone.

Where the partner is stopped or dead as well, nobody else is there: each continues itself.
"""

from __future__ import annotations

from contextlib import suppress
from enum import IntEnum
from time import monotonic, monotonic_ns

from holdfast.gate.runtime import shared_page
from holdfast.gate.runtime.watching import BEAT_SECONDS
from holdfast.late_dataclass import dataclass
from holdfast.system.processes.continue_timer import ContinueTimer
from holdfast.system.processes.process_state import STOPPED, TRACED, ProcessState

SHORTEST_LIMIT_SECONDS, LONGEST_LIMIT_SECONDS = 2.0, 10.0
"""A stopped process is waited for as long as a leg that hangs, within these bounds: a debugger
that only looks (gcore, a stack trace) is through by then."""

STOPPED_SECONDS = 15.0
"""A process that was stopped continues itself after that time: its partner, which acts sooner, is
stopped as well, or dead."""

PATIENCE_SECONDS = 30.0
"""For one that is not stopped and only silent: on a host with hundreds of runnable processes a main
loop still comes round far more often."""


class Ending(IntEnum):
    """How a process of the pair ended."""

    DIED = 0
    STOPPED = 1
    TRACED = 2
    SILENT = 3
    DEFECT = 4
    RENEWED = 5
    SWITCHED = 6

    def words(self, who: str, seconds: float = 0.0) -> str:
        """For the receipt."""
        return {
            Ending.DIED: f"the {who} died",
            Ending.STOPPED: f"the {who} was stopped (SIGSTOP) for {seconds:.1f} s, and killed",
            Ending.TRACED: f"a debugger stopped the {who} for {seconds:.1f} s: it was killed",
            Ending.SILENT: f"the {who} gave no sign of life for {seconds:.1f} s, and was killed",
            Ending.DEFECT: f"the {who} ended itself because of a defect (see gate.log)",
            Ending.RENEWED: f"the {who} was ended to renew it (volume restart-gate)",
            Ending.SWITCHED: f"the {who} was ended to change what is kept (holdfast history)",
        }[self]


class Beat:
    """Of one main loop: what its partner looks at, and a timer that continues the process."""

    def __init__(self, cells: memoryview, cell: int) -> None:
        self._cells = cells
        self._cell = cell
        self._timer: ContinueTimer | None = None
        with suppress(OSError):  # no room in the kernel: the partner is left
            self._timer = ContinueTimer(STOPPED_SECONDS)

    def tell(self) -> None:
        """The main loop came round; call it every BEAT_SECONDS or more often."""
        self._cells[self._cell] = monotonic_ns()
        if self._timer is not None:
            self._timer.restart()


@dataclass
class Silence:
    """For how long a partner has not come round, as far as the observer was awake to see it."""

    cells: memoryview
    cell: int
    """Where the partner says that it came round."""
    seconds: float = 0.0
    _seen: int = -1
    _looked: float = 0.0

    def look(self) -> float:
        """Call it once a round, every BEAT_SECONDS or more often; seconds of silence so far."""
        now, beat = monotonic(), self.cells[self.cell]
        if beat != self._seen:
            self.seconds = 0.0
        else:
            self.seconds += min(now - self._looked, 2 * BEAT_SECONDS)
        self._seen, self._looked = beat, now
        return self.seconds

    def forgive(self) -> None:
        """Another process stands there now."""
        self._seen, self.seconds = -1, 0.0


def judge_silence(
    state: ProcessState | None,
    silent_seconds: float,
    hang_timeout_seconds: float,
    *,
    starving: bool = False,
) -> Ending | None:
    """Why a partner that has been silent for so long must be killed; None: it need not be.

    `starving`: it fell silent when somebody had moved it into a memory limit. It may have asked for
    memory there that only its own writes can free, and waits for that wherever it is now.
    """
    limit = min(max(hang_timeout_seconds, SHORTEST_LIMIT_SECONDS), LONGEST_LIMIT_SECONDS)
    if state is None or silent_seconds < limit:
        return None
    if state.state == STOPPED:
        return Ending.STOPPED
    if state.state == TRACED:
        return Ending.TRACED
    patience = limit if starving else max(PATIENCE_SECONDS, 6 * hang_timeout_seconds)
    return Ending.SILENT if silent_seconds >= patience else None


def hang_timeout_seconds(cells: memoryview) -> float:
    """The volume's hang time-out, as the first worker wrote it down; 0: not yet."""
    return cells[shared_page.HANG_TIMEOUT] / 1e9
