"""What the daemon asks a job for: to bring a copy on, if that is still to be done."""

from __future__ import annotations

from holdfast.late_dataclass import dataclass
from holdfast.model.copy import VolumeCopy
from holdfast.service.requests import OperationRequest


@dataclass(frozen=True)
class FollowRequest(OperationRequest[VolumeCopy | None]):
    """To bring a copy to the present, if it still follows and lacks something."""

    volume: str
    copy: str
    """Its id."""
