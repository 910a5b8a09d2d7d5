"""Replay: the handles move to the new mount, and interrupted system calls are made again on it.

Never undone. When a handle cannot be moved, the receipt names it, and the others are moved.
"""

from __future__ import annotations

from holdfast.model.plan import StepName
from holdfast.model.restoration import Mode
from holdfast.restoration.records.work import Work
from holdfast.restoration.steps.asked import mark_again
from holdfast.restoration.steps.mounting import mount_storage, open_up
from holdfast.restoration.steps.parked import outcomes_of, parked


class ReplayStep:
    """Moves every parked handle to the new mount."""

    name = StepName.REPLAY

    def is_done(self, work: Work) -> bool:
        """Never skipped: the record of what is parked knows what is left to do."""
        return False

    def do(self, work: Work) -> str:
        """Rebind every handle; the outcomes are remembered for the receipt."""
        covered, work.live.covered = work.live.covered, None
        if covered is None:
            covered = mount_storage(work, work.new or work.old)
        intent = work.intent
        # What somebody mounted again himself may be another file system than before.
        is_other = intent.mode is Mode.STALE and intent.is_dead
        try:
            rebind = parked(work)
            handles = (
                rebind.rebind(
                    covered.roots,
                    same_data=intent.mode.keeps_contents,
                    same_inodes=not work.changes_file_system and not is_other,
                )
                if rebind is not None
                else []
            )
        finally:
            mark_again(work, covered)
            open_up(work, covered)
        work.remember(replayed=outcomes_of(handles))
        return f"{len(handles)} handles"

    def undo(self, work: Work) -> str:
        """There is no way back from here."""
        return "nothing to undo"
