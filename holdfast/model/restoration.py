"""A restoration that has begun and not ended, as the catalog has it.

Values only. Invariant: what is here can be written as JSON. What its record means is known to
`restoration.records` alone.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from holdfast.late_dataclass import dataclass
from holdfast.model.plan import StepName, Strategy


class RestorationStage(StrEnum):
    """How far a restoration has come."""

    PREPARING = "preparing"
    """Nobody waits yet: the new container is made and filled."""
    RUNNING = "running"
    """Steps are being done; processes may be stopped."""
    WAITING = "waiting"
    """Left on purpose: dismounted, with its users parked until the deadline."""
    UNDOING = "undoing"


class Mode(StrEnum):
    """What kind of restoration it is."""

    MOVE = "move"
    """The present contents move to other storage."""
    IN_PLACE = "in-place"
    """The present contents stay where they are, and what lies between them and the mount changes:
    a gate comes, or goes."""
    REPLACE = "replace"
    """Other contents, on other storage, take the place of the present ones."""
    REMOUNT = "remount"
    """The same storage is mounted anew."""
    PARK = "park"
    """It is dismounted, and its users wait for another command."""
    STALE = "stale"
    """The old mount is in no table any more: its handles move to the mount in its place."""

    @property
    def has_new_storage(self) -> bool:
        """Whether the volume lies on other storage afterwards, or on the same in another way."""
        return self in (Mode.MOVE, Mode.IN_PLACE, Mode.REPLACE)

    @property
    def keeps_contents(self) -> bool:
        """Whether every file has the contents that its users know."""
        return self in (Mode.MOVE, Mode.IN_PLACE, Mode.REMOUNT, Mode.PARK)


class StepState(StrEnum):
    """What is recorded of a step: `started` before it acts, the others after."""

    STARTED = "started"
    FINISHED = "finished"
    UNDONE = "undone"
    FAILED = "failed"


@dataclass(frozen=True)
class StepRecord:
    """One step of one restoration as the catalog has it."""

    name: StepName
    state: StepState
    started: float
    """Unix time, seconds."""
    seconds: float = 0.0
    outcome: str = ""


@dataclass(frozen=True)
class Restoration:
    """One entry of the catalog; it is removed when its receipt is written."""

    id: str
    volume: str
    strategy: Strategy
    cause: str
    started: float
    """Unix time, seconds."""
    stage: RestorationStage
    boot_id: str
    """/proc/sys/kernel/random/boot_id when it began: parked processes do not outlive a boot."""
    deadline_ns: int = 0
    """CLOCK_MONOTONIC of that boot at which every process runs again; 0: nobody waits yet."""
    step_names: tuple[StepName, ...] = ()
    record: Any = None
    """What its steps need to know and have found out, as JSON; `restoration.records` reads it."""
    steps: tuple[StepRecord, ...] = ()

    def record_of(self, name: StepName) -> StepRecord | None:
        """What is recorded of that step."""
        return next((step for step in self.steps if step.name is name), None)

    def has_finished(self, name: StepName) -> bool:
        """Whether that step is recorded as finished."""
        record = self.record_of(name)
        return record is not None and record.state is StepState.FINISHED


@dataclass(frozen=True)
class RestorationHeading:
    """What can be read of an entry also when the rest of it is damaged. Not judged."""

    id: str
    volume: str
    strategy: str
    boot_id: str


@dataclass(frozen=True)
class Copy:
    """Storage that holds a volume's contents as they were at some time, and is no leg of it."""

    id: str
    volume: str
    urls: tuple[str, ...]
    """Its container, or the equal legs of a mirror."""
    filesystem: str
    uuid: str
    volume_id: str
    """What its superblocks say when it was gated; empty: a plain file system."""
    made: float
    """Unix time, seconds, up to which it has everything."""
    origin: str
    """How it came about: migrate, restore."""
