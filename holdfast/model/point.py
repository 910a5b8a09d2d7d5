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

    def __post_init__(self) -> None:
        """Raise ValueError for a number that no point has."""
        whole(self.position, "position")


@dataclass(frozen=True)
class PointReport:
    """`holdfast point list --json`."""

    point: RestorePoint
    state: str
    """reachable · unreachable · unknown (its history cannot be looked at)."""
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self.point), "state": self.state, "reason": self.reason}
