"""When it was last found out whether a volume could be restored, and what came of it.

Loads little: `status` is asked often.
"""

from __future__ import annotations

from holdfast.catalog import Catalog
from holdfast.model.drill import STRATEGY, LastDrill, in_short
from holdfast.model.policy import OnLoss
from holdfast.model.volume import VolumeReport


def last_drill(catalog: Catalog, name: str) -> LastDrill | None:
    """How the last one of a volume ended; None: there was none."""
    found = catalog.receipts(name, 1, strategy=STRATEGY)
    return in_short(found[0]) if found else None


def can_be_drilled(catalog: Catalog, report: VolumeReport) -> bool:
    """Whether there is something that it would be restored from: a history, or what its policy
    names."""
    journal = report.gate.journal if report.gate is not None else {}
    if journal.get("mode") == "continuous":
        return True
    return catalog.policies.of(report.name).policy.on_loss is OnLoss.RESTORE
