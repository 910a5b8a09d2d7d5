"""Holdfast: replace, restore or rewind the storage under a running Linux application.

The public library; what it can do is in docs/library.md:

    from holdfast import Holdfast, MigrateRequest

    with Holdfast() as holdfast:
        holdfast.restorations.migrate(MigrateRequest("data", ("file:/srv/new.img",)))

Nothing is loaded before it is used: the gate imports this package too, and stays small.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from holdfast.model.version import VERSION

if TYPE_CHECKING:
    from holdfast.client import AsyncClient, Client
    from holdfast.config import Settings
    from holdfast.errors import HoldfastError
    from holdfast.jobs import Job
    from holdfast.model.event import Found, Progressed, Said
    from holdfast.model.receipt import Receipt
    from holdfast.model.reporter import Reporter
    from holdfast.model.volume import VolumeReport, VolumeState
    from holdfast.service import (
        AddLegRequest,
        AlertDrillRequest,
        AssessRequest,
        AttachRequest,
        DeleteRequest,
        DetachRequest,
        DrillRequest,
        FreezeRequest,
        GateRequest,
        Holdfast,
        HoldRequest,
        LiveDrillRequest,
        MigrateRequest,
        MountRequest,
        NewVolume,
        RebindRequest,
        RecoverRequest,
        ReleaseRequest,
        ReplaceLegRequest,
        ResizeRequest,
        RestoreRequest,
        ThawRequest,
        UngateRequest,
    )

__version__ = VERSION

__all__ = [
    "AddLegRequest",
    "AlertDrillRequest",
    "AssessRequest",
    "AsyncClient",
    "AttachRequest",
    "Client",
    "DeleteRequest",
    "DetachRequest",
    "DrillRequest",
    "Found",
    "FreezeRequest",
    "GateRequest",
    "HoldRequest",
    "Holdfast",
    "HoldfastError",
    "Job",
    "LiveDrillRequest",
    "MigrateRequest",
    "MountRequest",
    "NewVolume",
    "Progressed",
    "RebindRequest",
    "Receipt",
    "RecoverRequest",
    "ReleaseRequest",
    "ReplaceLegRequest",
    "Reporter",
    "ResizeRequest",
    "RestoreRequest",
    "Said",
    "Settings",
    "ThawRequest",
    "UngateRequest",
    "VolumeReport",
    "VolumeState",
]

_ELSEWHERE = {
    "AsyncClient": "holdfast.client",
    "Client": "holdfast.client",
    "Found": "holdfast.model.event",
    "HoldfastError": "holdfast.errors",
    "Job": "holdfast.jobs",
    "Progressed": "holdfast.model.event",
    "Receipt": "holdfast.model.receipt",
    "Reporter": "holdfast.model.reporter",
    "Said": "holdfast.model.event",
    "Settings": "holdfast.config",
    "VolumeReport": "holdfast.model.volume",
    "VolumeState": "holdfast.model.volume",
}
"""All other names are the service's."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_ELSEWHERE.get(name, "holdfast.service")), name)
