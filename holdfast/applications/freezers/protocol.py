"""What every freezer has in common.

A freezer stops processes, or what they ask for, in one way, and undoes exactly that. What it needs
for undoing it puts into a state (plain JSON values) and hands to `note`, which makes it durable,
*before* it acts: so a state may describe more than was done, never less, and `thaw` must cope.
Processes are named by number and start time; one whose number is used again is never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from holdfast.late_dataclass import dataclass
from holdfast.model.finding import Finding

State = dict[str, Any]
"""What a freezer must know to undo its work; as JSON."""

Note = Callable[[State], None]
"""Makes a state durable; returns when it is."""


@dataclass(frozen=True)
class Process:
    """A process that is frozen."""

    pid: int
    start_time: int
    """Clock ticks after boot (proc_pid_stat(5), field 22)."""
    name: str

    def as_json(self) -> list[Any]:
        """Plain values."""
        return [self.pid, self.start_time, self.name]

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid})"


@dataclass(frozen=True)
class Occasion:
    """One freeze of one volume: what a freezer may need to know beyond the processes."""

    id: str
    """Unique; 32 hexadecimal digits."""
    volume: str
    deadline_ns: int
    """CLOCK_MONOTONIC nanoseconds at which everything is thawed."""
    since_ticks: int = 0
    """When it began, as start times count: clock ticks after boot."""
    gate_run_directory: Path | None = None
    """Of a gated volume."""


class Freezer(Protocol):
    """One way to freeze. Methods may be called by another process than the one that froze."""

    @property
    def name(self) -> str:
        """The name of the way, as it is typed: hold, cgroup, signal, priority, page-out."""

    def can(self, processes: Sequence[Process]) -> list[Finding]:
        """What speaks against it. `blocks`: it cannot be used; `limited`: it can, but. Changes
        nothing."""

    def freeze(self, processes: Sequence[Process], note: Note, wait_seconds: float) -> State:
        """Freeze them; the state that `thaw` needs, noted durably before anything is done.

        Waits until they are frozen, `wait_seconds` at most: see `awake`. Processes that end
        meanwhile are passed over. Raises HoldfastError or OSError; the caller thaws then.
        """

    def thaw(self, state: State) -> list[str]:
        """Undo exactly what was done; what could not be undone, in words. Idempotent."""

    def frozen(self, state: State) -> bool:
        """Whether everyone is frozen now who should be and still lives."""

    def awake(self, state: State) -> list[int]:
        """Numbers of those who are not frozen, or not yet: most wait inside the kernel (state
        D) and are frozen when they return."""

    def insist(self, state: State) -> list[int]:
        """Freeze those again whom somebody else woke. Numbers of those who had been left as they
        were, because they stood still already, and who run now."""


def processes_in(state: State) -> list[Process]:
    """The processes that a state is about."""
    return [Process(int(pid), int(time), str(name)) for pid, time, name in state["processes"]]
