"""Remount: the new storage is mounted at every mount point, with its options and propagation."""

from __future__ import annotations

from holdfast.adopted.source import identity_of
from holdfast.model.plan import StepName
from holdfast.mountpoints.capture import capture_device
from holdfast.mountpoints.dismount import dismount
from holdfast.restoration.records.work import Work
from holdfast.restoration.steps.mounting import (
    close_roots,
    mount_storage,
    refuse_newcomers,
    uncover_all,
)
from holdfast.restoration.steps.saving import put_saved_back
from holdfast.system.mounts.mount_table import mounts
from holdfast.volumes.gate_device import gate_device


class RemountStep:
    """Mounts the new storage in all places of the old one."""

    name = StepName.REMOUNT

    def is_done(self, work: Work) -> bool:
        """Never skipped: the roots of the mounts are needed, and mounting again changes nothing."""
        return False

    def do(self, work: Work) -> str:
        """Put back what was saved, then mount it; the roots stay open for the handles that move."""
        volume = work.new or work.old
        refuse_newcomers(work)
        words = put_saved_back(work)
        work.live.covered = covered = mount_storage(work, volume)
        count = len(covered.roots)
        return "; ".join((*words, f"{volume.mount.filesystem} at {count} mounts"))

    def undo(self, work: Work) -> str:
        """Dismount it again. Nobody has run on it yet. The old storage is never dismounted here."""
        covered, work.live.covered = work.live.covered, None
        if covered is not None:
            close_roots(covered)
        new, path = work.new, work.old.mount.path
        if new is None:
            return "nothing to undo"
        uncover_all(work)
        # Somebody may have mounted something over it meanwhile: that is left alone. Storage that
        # stays where it is has one UUID, with a gate and without.
        gates = gate_device().devices(work.settings, new.name)
        for mounted in reversed(mounts()):
            if mounted.path == path and mounted.source.startswith("/dev/"):
                if (mounted.source in gates) == new.is_adopted:
                    continue
                found = identity_of(mounted.source)
                if found is not None and found.uuid == new.mount.uuid:
                    dismount(capture_device(mounted.device_number))
                    return "dismounted"
        return "nothing to undo"  # or the old storage is mounted already: that was not recorded
