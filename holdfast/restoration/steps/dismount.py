"""Dismount: handles are parked, and the file system is really dismounted in every namespace.

Undoing mounts the old storage again and moves the handles back to it. A broken mount is dismounted
by force; the receipt says what that took.
"""

from __future__ import annotations

from holdfast.adopted.nameless_image import keep_nameless, renamed_image
from holdfast.errors import StorageFailed
from holdfast.model.finding import Finding
from holdfast.model.plan import StepName
from holdfast.model.restoration import Mode
from holdfast.mountpoints.dead import abort, dismount_dead
from holdfast.mountpoints.dismount import dismount
from holdfast.mountpoints.surplus.unrecorded import dismount_dead_first
from holdfast.restoration.records.record import MOST_TOLD
from holdfast.restoration.records.work import Work
from holdfast.restoration.steps.asked import mark_again, note_marks
from holdfast.restoration.steps.freeze import remember_stopped
from holdfast.restoration.steps.mounting import (
    make_covers_for,
    mount_storage,
    name_of_image,
    open_up,
    tell_of_lost,
)
from holdfast.restoration.steps.mounts_below import to_be_parked
from holdfast.restoration.steps.parked import outcomes_of, parked
from holdfast.restoration.steps.saving import put_saved_back


class DismountStep:
    """Parks the handles, then dismounts."""

    name = StepName.DISMOUNT

    def is_done(self, work: Work) -> bool:
        """Never skipped: mounts that are gone are passed over, handles that are parked too."""
        return False

    def do(self, work: Work) -> str:
        """Park, then dismount. Raises InUse when something keeps it busy all the same,
        StorageFailed where the image that is to become a leg has lost its name."""
        points = work.points
        source = name_of_image(work)
        if source and work.in_place and renamed_image(source, points[-1]):
            raise StorageFailed(
                f"{source} is not the name of the image of {points[-1].path} any more",
                "Nothing was changed. Leave it its name, and try again.",
            )
        if points and work.intent.mode is not Mode.STALE and keep_nameless(points[-1], source):
            work.say("its image has lost its name: the loop device keeps it")
        covers = make_covers_for(work)
        lost: list[Finding] = []
        try:
            rebind = parked(work)  # from the last look on nothing is done that could be done before
            if rebind is not None and rebind.stop_newcomers():
                remember_stopped(work, rebind)
            note_marks(work, is_covered=covers is not None)
            if rebind is not None:
                rebind.park()
            if work.intent.mode is Mode.STALE:
                return "the old mount is gone already"
            if not work.intent.is_broken:
                gone = dismount(
                    points,
                    covers=covers,
                    parked=to_be_parked(work) if covers is not None else None,
                    leaves_covered=bool(work.record.asked),
                    note=lost.append,
                    must_sync=work.record.saved is None,  # else that has failed already
                )
                if gone != points:  # renamed meanwhile, or mounted in new namespaces, too
                    work.remember(captured=gone)
                return f"{len(gone)} mounts"
            abort(points)  # whoever looks at one of its mounts is answered from now on
            if points:
                points, lost = dismount_dead_first(points)
            findings = dismount_dead(points, covers)[:MOST_TOLD]
        finally:
            if covers is not None:
                covers.close()
            work.note_time_taken()
            tell_of_lost(work, lost)
        work.remember(forced=tuple(findings))
        return "; ".join(finding.found for finding in findings) or f"{len(points)} mounts"

    def undo(self, work: Work) -> str:
        """Mount the old storage where it was, with the handles on it."""
        put_saved_back(work, undoing=True)
        covered = mount_storage(work, work.old, undoing=True)
        try:
            rebind = parked(work)
            if rebind is not None and rebind.pids:
                outcomes = rebind.rebind(covered.roots, same_data=True, same_inodes=True)
                work.remember_if_possible(replayed=outcomes_of(outcomes))
        finally:
            mark_again(work, covered)
            open_up(work, covered, undoing=True)
        return "; ".join(("mounted again", *work.live.left_out))
