"""Flush: the page cache is written to storage, and the copy gets what changed since its last pass.

Afterwards the process that copies has nothing of the source open, so that it can be dismounted. A
mount that is dead or turned read-only is not flushed: nothing can be written to it. What is only in
memory of storage that failed is saved (see `saving`).
"""

from __future__ import annotations

from holdfast.errors import StorageFailed
from holdfast.model.plan import StepName
from holdfast.model.restoration import Mode
from holdfast.mountpoints.dismount import sync
from holdfast.restoration.copying.online import leased
from holdfast.restoration.records.record import FlushResult
from holdfast.restoration.records.work import Work
from holdfast.restoration.steps.saving import ready_to_save, saved


class FlushStep:
    """Brings storage and copy up to date while everybody stands still."""

    name = StepName.FLUSH

    def is_done(self, work: Work) -> bool:
        """Never: doing it again costs little and is always right."""
        return False

    def do(self, work: Work) -> str:
        """Sync, then one more pass of the copy while everybody is stopped."""
        if work.intent.is_broken:
            return "; ".join(("the mount is broken: nothing can be written to it", *saved(work)))
        copying = work.live.copying
        if copying is None or work.intent.mode is not Mode.MOVE:
            return self._sync(work)
        has_device = work.intent.device is not None
        result = copying.run_pass(verify=not has_device, seconds=work.seconds_left())
        if result.leased_files and not has_device:
            raise leased(result)
        if result.differences:
            raise StorageFailed(
                f"the copy differs from the volume: {'; '.join(result.differences[:3])}",
                "Everything is as it was. Try again; report it when it stays.",
            )
        copying.leave_source(work.seconds_left())
        work.remember(flushed=FlushResult(result.seconds, result.written_bytes))
        return f"{result.copied_files} files, {result.written_bytes} bytes in {result.seconds:.3f}"

    def _sync(self, work: Work) -> str:
        """Storage that fails here has failed: other contents take the place of its, and what is
        only in memory is kept for them."""
        if not work.intent.saves_writes or work.intent.mode is not Mode.REPLACE:
            sync(work.points)
            return "synced"
        with ready_to_save(work) as save:
            try:
                sync(work.points)
            except StorageFailed as error:
                return "; ".join((error.message, *save()))
        return "synced"

    def undo(self, work: Work) -> str:
        """What was written may stay."""
        return "nothing to undo"
