"""Points that are made by themselves: how often, and how many of them stay. Values."""

from __future__ import annotations

from dataclasses import asdict, field, replace
from enum import StrEnum
from typing import Any

from holdfast.errors import InvalidOption
from holdfast.late_dataclass import dataclass
from holdfast.model.bounded import whole

MOST_KEPT = 1000
"""Of one kind: six weeks of hours. Each is a file that `point list` reads."""


class PointKind(StrEnum):
    """How often a point is made."""

    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"


@dataclass(frozen=True)
class PointSchedule:
    """Of one volume."""

    id: str
    """The volume's name."""
    volume: str
    made: float
    """When it was begun. Unix time in seconds."""
    hourly: int = 0
    """How many of them stay; 0: none is made."""
    daily: int = 0
    weekly: int = 0
    count: int = 0
    """Points that were made so, of all kinds: their order, whatever the clock says."""
    slots: dict[str, str] = field(default_factory=dict)
    """By kind, the hour, day or week of the last one, also when it was deleted since."""

    def __post_init__(self) -> None:
        """Raise ValueError for numbers that none has."""
        for kind in PointKind:
            whole(self.kept(kind), kind, 0, MOST_KEPT)
        whole(self.count, "count")

    def kept(self, kind: PointKind) -> int:
        """How many of that kind stay."""
        return {"hourly": self.hourly, "daily": self.daily, "weekly": self.weekly}[kind]

    def changed(self, kept: dict[str, int]) -> PointSchedule:
        """With other numbers. Raises InvalidOption."""
        for kind, number in kept.items():
            if not 0 <= number <= MOST_KEPT:
                raise InvalidOption(
                    f"{number} {kind} points cannot be kept",
                    f"Keep up to {MOST_KEPT} of a kind; 0: none is made.",
                )
        return replace(
            self,
            hourly=kept.get("hourly", self.hourly),
            daily=kept.get("daily", self.daily),
            weekly=kept.get("weekly", self.weekly),
        )

    @property
    def is_off(self) -> bool:
        """Whether nothing is made."""
        return not any(self.kept(kind) for kind in PointKind)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)
