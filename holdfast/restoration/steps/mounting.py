"""Mounting one side's storage at the captured points: for Remount, and to undo Dismount."""

from __future__ import annotations

from holdfast.model.finding import Finding
from holdfast.model.volume import Volume
from holdfast.restoration.steps.protocol import Work
from holdfast.restoration.storage import bring_up, points_from_json
from holdfast.volumes.carrying import carry_options, wanted_super_options
from holdfast.volumes.mountpoints import remount


def mount_storage(work: Work, volume: Volume) -> dict[int, int]:
    """Bring the storage up and mount it at every point; old mount id → root (caller closes).

    Idempotent: points where it is mounted already are taken as they are. Raises HoldfastError.
    """
    points = points_from_json(work.facts["points"])
    source, more = bring_up(work.settings, volume)
    old_type = points[-1].filesystem if points else volume.mount.filesystem
    words, _ = carry_options(wanted_super_options(points), old_type, volume.mount.filesystem)
    notes: list[Finding] = []
    options = ",".join(filter(None, (words, more)))
    bases = remount(points, source, volume.mount.filesystem, options, notes.append)
    if notes:
        work.live.setdefault("notes", []).extend(notes)
    return bases
