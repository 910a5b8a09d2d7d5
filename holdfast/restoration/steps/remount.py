"""Remount: the storage of the new side at every place, with the options and relations of each."""

from __future__ import annotations

import os
from contextlib import suppress

from holdfast.errors import NotFound
from holdfast.model.plan import StepName
from holdfast.restoration.steps.mounting import mount_storage
from holdfast.restoration.steps.protocol import Work
from holdfast.system.mounts import mount_at
from holdfast.volumes.mountpoints import capture, dismount
from holdfast.volumes.source import identity_of


class Remount:
    """See the module."""

    name = StepName.REMOUNT

    def is_done(self, work: Work) -> bool:
        """Never skipped: the roots of the mounts are needed, and mounting again changes nothing."""
        return False

    def do(self, work: Work) -> str:
        """Mount it; the roots stay open for the handles that move to it."""
        volume = work.new or work.old
        work.live["bases"] = mount_storage(work, volume)
        return f"{volume.mount.filesystem} at {len(work.live['bases'])} mounts"

    def undo(self, work: Work) -> str:
        """Dismount it again. Nobody has run on it yet. The old storage is never dismounted here."""
        for base in work.live.pop("bases", {}).values():
            os.close(base)
        new, path = work.new, work.old.mount.path
        mounted = mount_at(path)
        if new is None or mounted is None:
            return "nothing to undo"
        found = identity_of(mounted.source)
        if found is None or found.uuid != new.mount.uuid:
            return "the old storage is mounted already"  # undone before, and not recorded
        with suppress(NotFound):
            dismount(capture(path))
        return "dismounted"
