"""What every step has in common."""

from __future__ import annotations

from typing import Protocol

from holdfast.model.plan import StepName
from holdfast.restoration.records.work import Work


class Step(Protocol):
    """One step: what it does, how it is seen that it was done, and how it is taken back.

    Each may be run by another process than the one that began; each may find half of its work done.
    """

    @property
    def name(self) -> StepName:
        """Its place in the order."""

    def is_done(self, work: Work) -> bool:
        """Whether its effect is there, judged by the world and not by the record."""

    def do(self, work: Work) -> str:
        """Do it, or the rest of it; what came of it, in words. Idempotent. Raises HoldfastError."""

    def undo(self, work: Work) -> str:
        """Take it back, also when it was half done; what was done, in words. Idempotent."""
