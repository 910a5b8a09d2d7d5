"""Volumes whose gates run although the catalog does not know them: it was lost, or is an older one.

A gate says itself what it serves. Reads the run directory and asks gates, which answer from memory;
must never change anything.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from holdfast.config import Settings
from holdfast.errors import HoldfastError, InvalidName
from holdfast.gate.outside.client import GateClient
from holdfast.model.volume import Volume, check_name
from holdfast.volumes.descriptor import volume_of

_ANSWER_SECONDS = 5.0


def running_volumes(settings: Settings, known: Collection[str]) -> list[Volume]:
    """Volumes that the catalog does not know, by name. Blocks 5 s for each silent gate."""
    try:
        entries = sorted((settings.run_directory / "gates").iterdir())
    except OSError:
        return []
    names = [entry.name for entry in entries if entry.name not in known]
    found = (running_volume(settings, name) for name in names)
    return [volume for volume in found if volume is not None]


def running_volume(settings: Settings, name: str) -> Volume | None:
    """What the gate of that name serves, as it says; None when none runs, or it does not answer."""
    run_directory = settings.gate_run_directory(name)
    try:
        check_name(name)
        configuration = GateClient(run_directory, _ANSWER_SECONDS).describe()
        volume = volume_of(configuration)
    except (HoldfastError, InvalidName):
        return None
    return replace(volume, attached=True) if volume.name == name else None
