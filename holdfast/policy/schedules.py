"""Which points a schedule makes and deletes now. Pure: a schedule, the points that are there and
the time in, what is to be done out.

Invariants: one point in each hour, day or week at most, whatever the clock does, also when it was
deleted since; none for times that passed meanwhile; of each kind the last ones made stay, as many
as the schedule says; what was made by hand is never deleted, nor what is of a kind that is not
made any more. The clock names hours, days and weeks, and orders nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from holdfast.late_dataclass import dataclass
from holdfast.model.point import RestorePoint
from holdfast.model.schedule import PointKind, PointSchedule

_IDENTIFIER = re.compile(r"scheduled-(hourly|daily|weekly)-(\d{10})-([0-9A-Z-]{1,20})", re.ASCII)
"""Kind, number, slot: the mark of points that a schedule has made. One that is made by hand has
another id, whatever its name."""


@dataclass(frozen=True)
class ScheduledPoint:
    """What the id of a point says."""

    kind: PointKind
    number: int
    slot: str

    @property
    def id(self) -> str:
        """Of its record."""
        return f"scheduled-{self.kind}-{self.number:010d}-{self.slot}"

    @property
    def name(self) -> str:
        """As people see it."""
        return f"{self.kind}-{self.slot}"


@dataclass(frozen=True)
class PointsToDo:
    """What is to be done now."""

    make: tuple[ScheduledPoint, ...] = ()
    delete: tuple[RestorePoint, ...] = ()
    """When those are made."""


def scheduled(point: RestorePoint) -> ScheduledPoint | None:
    """What a schedule made it for; None: somebody made it."""
    found = _IDENTIFIER.fullmatch(point.id)
    return ScheduledPoint(PointKind(found[1]), int(found[2]), found[3]) if found else None


def slot_of(kind: PointKind, now: float) -> str:
    """The hour (of UTC: no zone shows one twice), or the day or week in the host's own time zone,
    in which that is. `now`: Unix seconds."""
    if kind is PointKind.HOURLY:
        return datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H00Z")
    local = datetime.fromtimestamp(now)
    if kind is PointKind.DAILY:
        return local.strftime("%Y-%m-%d")
    year, week, _ = local.isocalendar()
    return f"{year:04d}-W{week:02d}"


def is_due(schedule: PointSchedule, now: float) -> bool:
    """Whether it is worth to look at its points: another hour, day or week than the last time."""
    return any(
        schedule.kept(kind) and schedule.slots.get(kind) != slot_of(kind, now) for kind in PointKind
    )


def decide(schedule: PointSchedule, points: Sequence[RestorePoint], now: float) -> PointsToDo:
    """`points`: all of the volume."""
    there = [(each, found) for each in points if (found := scheduled(each)) is not None]
    number = max([schedule.count, *(found.number for _, found in there)])
    names = {each.name for each in points}
    make: list[ScheduledPoint] = []
    delete: list[RestorePoint] = []
    for kind in PointKind:
        kept = schedule.kept(kind)
        if not kept:
            continue
        slot = slot_of(kind, now)
        mine = sorted(
            ((found.number, each) for each, found in there if found.kind is kind),
            key=lambda numbered: numbered[0],
        )
        new = ScheduledPoint(kind, number + 1, slot)
        if schedule.slots.get(kind) != slot and new.name not in names:
            make.append(new)
            number += 1
            kept -= 1
        delete += [each for _, each in mine[: max(0, len(mine) - kept)]]
    return PointsToDo(tuple(make), tuple(delete))


def after(schedule: PointSchedule, made: Sequence[ScheduledPoint], now: float) -> PointSchedule:
    """The schedule when that was done at that time."""
    slots = {kind.value: slot_of(kind, now) for kind in PointKind if schedule.kept(kind)}
    count = max([schedule.count, *(each.number for each in made)])
    return replace(schedule, count=count, slots={**schedule.slots, **slots})
