"""The stopped processes of a restoration: ours, or regained from the record of a dead runner."""

from __future__ import annotations

from pathlib import Path

from holdfast.applications.rebind.rebind import Rebind
from holdfast.restoration.steps.protocol import Work
from holdfast.restoration.storage import directory_of

_LIVE = "rebind"


def record_directory(work: Work) -> Path:
    """Where the handles that are parked are written down."""
    return directory_of(work.settings, work.restoration.id) / "parking"


def keep(work: Work, rebind: Rebind | None) -> None:
    """These are the stopped processes from now on."""
    work.live[_LIVE] = rebind


def parked(work: Work) -> Rebind | None:
    """The stopped processes; None when none of them is left, or was stopped at all."""
    if _LIVE not in work.live:
        place = str(work.facts.get("parking", ""))
        work.live[_LIVE] = Rebind.regain(Path(place)) if place else None
    found: Rebind | None = work.live[_LIVE]
    return found
