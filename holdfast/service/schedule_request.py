"""What the daemon asks a job for: to make the points of a schedule, if that is still to be done."""

from __future__ import annotations

from holdfast.late_dataclass import dataclass
from holdfast.model.point import RestorePoint
from holdfast.service.requests import OperationRequest


@dataclass(frozen=True)
class ScheduledPointsRequest(OperationRequest[tuple[RestorePoint, ...]]):
    """To make and delete what the schedule of that volume says now."""

    volume: str
