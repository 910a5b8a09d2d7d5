"""Restore: the copy is completed, and its container takes the old one's place.

The old storage is dismounted by now, so nobody can change it. One more pass compares the copy with
it, and copies what a process wrote that began to use the volume at the last moment.
"""

from __future__ import annotations

import time

from holdfast.applications.rebind.parking.relocation import CopiedFiles
from holdfast.errors import StorageFailed
from holdfast.model.plan import StepName
from holdfast.model.restoration import Mode
from holdfast.model.volume import Volume
from holdfast.restoration.copying.online import leased
from holdfast.restoration.copying.process.child import Copying
from holdfast.restoration.records.record import CompareResult, RestoreResult
from holdfast.restoration.records.work import Work
from holdfast.restoration.steps.mounting import refuse_newcomers
from holdfast.restoration.steps.parked import parked
from holdfast.restoration.storage.leg_in_place import as_it_was, become_leg, cease_to_be_leg
from holdfast.restoration.storage.old_and_new import (
    containers_of,
    exchange_gates,
    has_gate_in_place,
    put_old_gate_back,
    take_down,
)


class RestoreStep:
    """Completes the copy and exchanges the containers."""

    name = StepName.RESTORE

    def is_done(self, work: Work) -> bool:
        """Never skipped: each part finds out by itself what is left to do."""
        return False

    def do(self, work: Work) -> str:
        """Complete the copy, release the old storage, exchange the gates' states."""
        refuse_newcomers(work)
        not_kept = self._complete_copy(work)
        refuse_newcomers(work)
        take_down(work.settings, work.old)
        if work.new is not None:
            self._exchange(work, work.new)
        work.remember(restored=RestoreResult(time.time(), not_kept or None))
        if work.in_place:
            return "the storage stays"
        return "complete" if not_kept is None else "complete and compared"

    def _exchange(self, work: Work, new: Volume) -> None:
        """The gates' states change places; of storage that stays, its end does, too."""
        settings, identifier = work.settings, work.restoration.id
        if work.in_place and not new.is_adopted:
            become_leg(settings, identifier, new.mount.uuid, work.seconds_left())
        exchange_gates(settings, identifier, work.old, new)
        if work.in_place and new.is_adopted:
            url = containers_of(new)[0]
            cease_to_be_leg(settings, identifier, work.old, url, work.seconds_left())

    def undo(self, work: Work) -> str:
        """Release the new storage. The old storage is made ready when it is mounted again."""
        work.end_copying()
        new = work.new
        if new is None:
            return "nothing to undo"
        if new.is_adopted or has_gate_in_place(work.settings, new):
            take_down(work.settings, new)
        try:
            if work.in_place:
                as_it_was(work.settings, work.restoration.id, containers_of(new)[0])
        finally:  # a gate that was has its other legs, too
            put_old_gate_back(work.settings, work.restoration.id, work.old, new)
        return "the old storage is back"

    def _tell_places(self, work: Work, copying: Copying) -> None:
        """Tell the agent that moves the handles where each inode's file is in the copy."""
        rebind = parked(work)
        if rebind is not None and rebind.pids:
            found = copying.locate(rebind.inodes(), work.seconds_left())
            rebind.files_were_copied(CopiedFiles.of(found))

    def _complete_copy(self, work: Work) -> dict[str, int] | None:
        """How many files lack what in the copy; None: it was complete before."""
        copying = work.live.copying
        if copying is None:
            return None
        if work.intent.mode is Mode.MOVE:
            self._compare(work, copying)
            self._tell_places(work, copying)
        not_kept = copying.finish(work.seconds_left())
        work.end_copying()
        return not_kept

    def _compare(self, work: Work, copying: Copying) -> None:
        """Make one more pass, against the dismounted source."""
        device = work.intent.device
        if device is None:
            return
        copying.take_source(device, work.seconds_left())
        result = copying.run_pass(verify=True, seconds=work.seconds_left())
        if result.leased_files:  # an NFS server's, or of somebody who mounted it meanwhile
            raise leased(result)
        if result.differences:
            raise StorageFailed(
                f"the copy differs from the volume: {'; '.join(result.differences[:3])}",
                "Everything is as it was. Try again; report it when it stays.",
            )
        lost = tuple(result.lost)
        work.remember(verified=CompareResult(result.entries, result.written_bytes, lost))
