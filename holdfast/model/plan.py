"""What a restoration will do: one strategy, its steps in the one fixed order, its time.

Values only. Invariant: the steps of a plan are a subsequence of ORDER; one that refuses has none.
Must never know how a step is done.
"""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import Any

from holdfast.late_dataclass import dataclass
from holdfast.model.finding import Finding


class StepName(StrEnum):
    """The steps of every restoration, in the order in which they happen."""

    FREEZE = "freeze"
    CAPTURE = "capture"
    FLUSH = "flush"
    LOCK = "lock"
    DISMOUNT = "dismount"
    RESTORE = "restore"
    REMOUNT = "remount"
    REPLAY = "replay"
    UNLOCK = "unlock"
    THAW = "thaw"


ORDER: tuple[StepName, ...] = tuple(StepName)


class Strategy(StrEnum):
    """How a volume gets its storage back, or other storage."""

    FAILOVER = "failover"
    """Another leg is in sync: the gate does it by itself."""
    REATTACH = "reattach"
    """The same storage is back: the gate does it by itself."""
    STANDBY = "standby"
    """A spare takes the lost leg's place: the gate does it by itself."""
    REWIND = "rewind"
    """Older contents replace the present ones under the applications."""
    REMOUNT = "remount"
    """The file system is mounted anew, from the same or from other storage."""
    MIGRATE = "migrate"
    """The present contents move to another container, also to another type of file system."""
    DETACH = "detach"
    """Dismounted under its users, who wait for `attach` until the deadline."""
    REFUSE = "refuse"
    """It cannot be done without harm: findings only, nothing is touched."""


BY_REFLEX = frozenset({Strategy.FAILOVER, Strategy.REATTACH, Strategy.STANDBY})
"""What a gate does within a request, without any step of ours."""


class Cause(StrEnum):
    """Why a restoration is asked for."""

    PLANNED = "planned"
    LOST = "storage-lost"
    ERRORS = "io-errors"
    HANG = "hang"
    READ_ONLY = "read-only"
    DEAD_MOUNT = "dead-mount"
    """Whoever served the mount is gone (ENOTCONN, ESTALE), or does not answer."""
    CORRUPTION = "corruption"
    DELETION = "deletion"


DAMAGED_CONTENTS = frozenset({Cause.CORRUPTION, Cause.DELETION})
"""Causes that every leg of a mirror suffers alike: only older contents help."""


@dataclass(frozen=True)
class PlannedStep:
    """One step and what it will do to this volume, in words."""

    name: StepName
    words: str


@dataclass(frozen=True)
class Plan:
    """What will be done, or why not. Times in seconds."""

    volume: str
    strategy: Strategy
    cause: Cause
    steps: tuple[PlannedStep, ...]
    deadline_seconds: float
    """From the freeze on: after it every process runs again, whatever became of the rest."""
    pause_budget_seconds: float
    """Longest pause that may be begun with; a longer prediction refuses."""
    predicted_pause_seconds: float
    reason: str = ""
    """Why this strategy, in a sentence."""
    findings: tuple[Finding, ...] = ()
    waits_after: StepName | None = None
    """The step after which the agent leaves; another command goes on from there."""

    @property
    def refuses(self) -> bool:
        """Whether nothing will be touched."""
        return self.strategy is Strategy.REFUSE

    @property
    def step_names(self) -> tuple[StepName, ...]:
        """The steps without their words."""
        return tuple(step.name for step in self.steps)

    def as_json(self) -> dict[str, Any]:
        """Plain values, as `assess --json` prints them and the catalog keeps them."""
        return asdict(self)
