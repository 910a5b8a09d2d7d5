"""A restore point: a position in the history of a volume that somebody gave a name. Values."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from holdfast.late_dataclass import dataclass
from holdfast.model.bounded import whole


@dataclass(frozen=True)
class RestorePoint:
    """A moment by name."""

    id: str
    volume: str
    """The volume's name when it was made."""
    volume_id: str
    name: str
    position: int
    made: float
    """Unix time in seconds."""
    group: str = ""
    """Points of other volumes with the same are of the same moment; empty: there are none."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number that no point has."""
        whole(self.position, "position")


@dataclass(frozen=True)
class BegunGroup:
    """Written down before any of its points is: all of them, or none."""

    id: str
    """That of its points."""
    volume: str
    """The first one of them, for whose points it was begun."""
    made: float
    """Unix time in seconds."""
    volumes: tuple[str, ...]
    """All of them."""


@dataclass(frozen=True)
class PointReport:
    """`holdfast point list --json`."""

    point: RestorePoint
    state: str
    """reachable · unreachable · unknown (its history cannot be looked at)."""
    reason: str = ""
    others: tuple[str, ...] = ()
    """Volumes that have a point of the same group."""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        own = {"state": self.state, "reason": self.reason, "others": list(self.others)}
        return {**asdict(self.point), **own}
