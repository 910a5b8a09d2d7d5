"""Freezes a gated volume's I/O: its gate withholds every request; the processes run on.

A process stops by itself at its next request to the volume that the page cache cannot answer. The
gate ends the hold at the deadline, too, whatever becomes of us. Must never release a hold that an
administrator asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic_ns

from holdfast.applications.freezers.protocol import Note, Occasion, Process, State
from holdfast.errors import GateGone, HoldfastError
from holdfast.gate.outside.client import GateClient
from holdfast.model.finding import Finding, Verdict

_ANSWER_SECONDS = 5.0
"""A gate answers from memory, within milliseconds."""


class GateHold:
    """The freezer `hold`."""

    name = "hold"

    def __init__(self, occasion: Occasion) -> None:
        self._occasion = occasion
        self._reason = f"frozen ({occasion.id[:8]})"

    def can(self, processes: Sequence[Process]) -> list[Finding]:
        """Needs a gate that answers and is not held already."""
        gate = self._gate()
        if gate is None:
            return [
                Finding(
                    "hold",
                    Verdict.BLOCKS,
                    f"{self._occasion.volume} has no gate",
                    "Nothing can withhold its requests.",
                    "Use another way: --by cgroup or --by signal.",
                )
            ]
        try:
            shown = gate.show()
        except HoldfastError as error:
            return [Finding("hold", Verdict.BLOCKS, str(error), mend=error.mend)]
        if shown["held"] and shown["hold_reason"] != self._reason:
            return [
                Finding(
                    "hold",
                    Verdict.BLOCKS,
                    f"{self._occasion.volume} is held already: {shown['hold_reason']}",
                    "Its requests are withheld as it is.",
                    f"holdfast volume release {self._occasion.volume}",
                )
            ]
        return []

    def freeze(self, processes: Sequence[Process], note: Note, wait_seconds: float) -> State:
        """Make the gate withhold requests: none is under way on return. Newcomers need nothing."""
        state: State = {"processes": [process.as_json() for process in processes]}
        note(state)
        gate = self._gate()
        if gate is None:
            raise GateGone(f"{self._occasion.volume} has no gate", "Use another way: --by.")
        if not gate.show()["held"]:
            remaining_seconds = (self._occasion.deadline_ns - monotonic_ns()) / 1e9
            gate.hold(max(0.001, remaining_seconds), self._reason)
        return state

    def thaw(self, state: State) -> list[str]:
        """Release the hold when it is ours; a gate that is gone withholds nothing."""
        gate = self._gate()
        if gate is None:
            return []
        try:
            if gate.show()["hold_reason"] == self._reason:
                gate.release()
        except GateGone:
            return []
        except HoldfastError as error:
            return [f"the gate of {self._occasion.volume} was not released: {error}"]
        return []

    def frozen(self, state: State) -> bool:
        """Whether the gate withholds requests."""
        gate = self._gate()
        try:
            return gate is not None and bool(gate.show()["held"])
        except HoldfastError:
            return False

    def awake(self, state: State) -> list[int]:
        """Nobody: the processes are meant to run."""
        return []

    def insist(self, state: State) -> list[int]:
        """Do nothing: somebody released the volume on purpose."""
        return []

    def _gate(self) -> GateClient | None:
        folder = self._occasion.gate_run_directory
        return GateClient(folder, _ANSWER_SECONDS) if folder is not None else None
