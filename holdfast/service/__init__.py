"""What one can ask of Holdfast on this host: one method per thing, in-process, model values back.

Owns the order of things between catalog, volumes and gates, and the rule that one changing
command at a time works on a volume. Must never print, and never ask a person anything.
"""

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
    RestoreRequest,
)

__all__ = [
    "AddLegRequest",
    "AssessRequest",
    "AttachRequest",
    "DeleteRequest",
    "DetachRequest",
    "GateRequest",
    "Holdfast",
    "MigrateRequest",
    "MountRequest",
    "NewVolume",
    "OperationRequest",
    "RebindRequest",
    "RecoverRequest",
    "ReplaceLegRequest",
    "ResizeRequest",
    "RestoreRequest",
    "UngateRequest",
    "perform",
]
