"""What one can ask of Holdfast on this host: one method per thing, in-process, model values back.

Owns the order of things between catalog, volumes and gates, and the rule that one changing
command at a time works on a volume. Must never print, and never ask a person anything.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.service.drilling import AlertDrillRequest, DrillRequest, LiveDrillRequest
    from holdfast.service.follow_request import FollowRequest
    from holdfast.service.gating import GateRequest, UngateRequest
    from holdfast.service.holdfast import Holdfast
    from holdfast.service.operations import perform
    from holdfast.service.requests import (
        AddLegRequest,
        AssessRequest,
        AttachRequest,
        DeleteRequest,
        DetachRequest,
        MigrateRequest,
        MountRequest,
        NewVolume,
        OperationRequest,
        RebindRequest,
        RecoverRequest,
        ReplaceLegRequest,
        ResizeRequest,
    )
    from holdfast.service.responding import RespondRequest
    from holdfast.service.restore_request import RestoreRequest
    from holdfast.service.rewinding import intended
    from holdfast.service.schedule_request import ScheduledPointsRequest
    from holdfast.service.standing_still import (
        FreezeRequest,
        HoldRequest,
        ReleaseRequest,
        ThawRequest,
    )

__all__ = [
    "AddLegRequest",
    "AlertDrillRequest",
    "AssessRequest",
    "AttachRequest",
    "DeleteRequest",
    "DetachRequest",
    "DrillRequest",
    "FollowRequest",
    "FreezeRequest",
    "GateRequest",
    "HoldRequest",
    "Holdfast",
    "LiveDrillRequest",
    "MigrateRequest",
    "MountRequest",
    "NewVolume",
    "OperationRequest",
    "RebindRequest",
    "RecoverRequest",
    "ReleaseRequest",
    "ReplaceLegRequest",
    "ResizeRequest",
    "RespondRequest",
    "RestoreRequest",
    "ScheduledPointsRequest",
    "ThawRequest",
    "UngateRequest",
    "intended",
    "perform",
]

_ELSEWHERE = {
    "AlertDrillRequest": "drilling",
    "DrillRequest": "drilling",
    "GateRequest": "gating",
    "Holdfast": "holdfast",
    "FollowRequest": "follow_request",
    "FreezeRequest": "standing_still",
    "HoldRequest": "standing_still",
    "LiveDrillRequest": "drilling",
    "ReleaseRequest": "standing_still",
    "RespondRequest": "responding",
    "RestoreRequest": "restore_request",
    "ScheduledPointsRequest": "schedule_request",
    "ThawRequest": "standing_still",
    "UngateRequest": "gating",
    "intended": "rewinding",
    "perform": "operations",
}
"""All other names are of `requests`. A command that only looks loads none of these but Holdfast."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ELSEWHERE.get(name, 'requests')}"), name)
