"""Mounting one side's storage at the captured points: for Remount, and to undo Dismount."""

from __future__ import annotations

import os

from holdfast.errors import NotAttached
from holdfast.model.finding import Finding
from holdfast.model.mountpoint import MountPoint
from holdfast.model.volume import Volume
from holdfast.restoration.steps.protocol import Work
from holdfast.restoration.storage import bring_up, points_from_json
from holdfast.system.expendable import in_expendable_child
from holdfast.system.mount_api import open_place
from holdfast.system.mounts import mount_at
from holdfast.volumes.carrying import carry_options, wanted_super_options
from holdfast.volumes.mountpoints import remount


def mount_storage(work: Work, volume: Volume) -> dict[int, int]:
    """Bring the storage up and mount it at every point; old mount id → root (caller closes).

    Idempotent: points where it is mounted already are taken as they are. Raises HoldfastError.
    """
    points = points_from_json(work.facts["points"])
    if "stale" in work.facts:
        return {each.id: in_place(each) for each in points_from_json(work.facts["stale"])}
    source, more = bring_up(work.settings, volume)
    old_type = points[-1].filesystem if points else volume.mount.filesystem
    words, _ = carry_options(wanted_super_options(points), old_type, volume.mount.filesystem)
    notes: list[Finding] = []
    options = ",".join(filter(None, (words, more)))
    bases = remount(points, source, volume.mount.filesystem, options, notes.append)
    if notes:
        work.live.setdefault("notes", []).extend(notes)
    return bases


def in_place(point: MountPoint) -> int:
    """The root of the mount that is at this point's place now (O_PATH); caller closes."""
    if mount_at(point.path) is None:
        raise NotAttached(f"nothing is mounted at {point.path} now", "Mount it there first.")
    in_expendable_child(lambda: os.close(open_place(point.path)), doing=point.path)
    return open_place(point.path)
