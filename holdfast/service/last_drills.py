"""When it was last found out whether a volume could be restored, and what came of it.

Loads little: `status` is asked often.
"""

from __future__ import annotations

from holdfast.catalog import Catalog
from holdfast.config import Settings
from holdfast.errors import HoldfastError, NoSuchVolume
from holdfast.model.drill import STRATEGY, LastDrill, in_short
from holdfast.model.policy import OnLoss
from holdfast.model.receipt import Receipt
from holdfast.model.volume import VolumeReport
from holdfast.policy.drill_schedules import DrillSchedule, read_schedules


def last_drill(catalog: Catalog, name: str) -> LastDrill | None:
    """How the last one of a volume ended; None: it had none as it is."""
    found = last_receipt(catalog, name)
    return None if found is None else in_short(found)


def last_receipt(catalog: Catalog, name: str) -> Receipt | None:
    """Of the last one. A volume that was deleted, or was there before a restoration,
    says nothing of what has its name now."""
    found = catalog.receipts(name, 1, strategy=STRATEGY)
    try:
        if not found or found[0].details.get("volume_id") != catalog.volume(name).id:
            return None
    except NoSuchVolume:
        return None
    return found[0]


def can_be_drilled(catalog: Catalog, report: VolumeReport) -> bool:
    """Whether there is something that it would be restored from: a history, or what its policy
    names."""
    journal = report.gate.journal if report.gate is not None else {}
    if journal.get("mode") == "continuous":
        return True
    return catalog.policies.of(report.name).policy.on_loss is OnLoss.RESTORE


def schedules(settings: Settings) -> dict[str, DrillSchedule]:
    """How often volumes have one by themselves, by name; none where that cannot be read."""
    try:
        return {each.volume: each for each in read_schedules(settings.state_directory)}
    except (HoldfastError, OSError, ValueError):
        return {}
