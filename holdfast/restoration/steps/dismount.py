"""Dismount: handles are parked, and the file system is dismounted for real, everywhere.

Undoing mounts the old storage again and moves the handles back to it. A broken mount is dismounted
whatever it takes, which its receipt says.
"""

from __future__ import annotations

import os
from dataclasses import asdict

from holdfast.adopted.nameless_image import keep_nameless
from holdfast.model.plan import StepName
from holdfast.mountpoints.dead import dismount_dead
from holdfast.mountpoints.dismount import dismount
from holdfast.restoration.steps.mounting import make_covers_for, mount_storage
from holdfast.restoration.steps.parked import parked
from holdfast.restoration.steps.protocol import Work
from holdfast.restoration.storage import points_from_json


class Dismount:
    """See the module."""

    name = StepName.DISMOUNT

    def is_done(self, work: Work) -> bool:
        """Never skipped: mounts that are gone are passed over, handles that are parked too."""
        return False

    def do(self, work: Work) -> str:
        """Park, then dismount. Raises InUse when something keeps it busy all the same."""
        points = points_from_json(work.facts["points"])
        rebind = parked(work)
        if rebind is not None:
            rebind.park()
        if "stale" in work.facts:
            return "the old mount is gone already"
        if points and keep_nameless(points[-1]):
            work.say("its image has no name any more: the loop device keeps it")
        covers = make_covers_for(work)
        try:
            if not work.facts.get("broken"):
                gone = dismount(points, covers=covers)
                if gone != points:  # renamed meanwhile, or mounted in new namespaces, too
                    work.remember(points=[asdict(point) for point in gone])
                return f"{len(gone)} mounts"
            findings = dismount_dead(points, covers)
        finally:
            if covers is not None:
                covers.close()
            work.note_the_way()
        work.remember(forced=[finding.as_json() for finding in findings])
        return "; ".join(finding.found for finding in findings) or f"{len(points)} mounts"

    def undo(self, work: Work) -> str:
        """Mount the old storage where it was, with the handles on it."""
        bases = mount_storage(work, work.old, undoing=True)
        try:
            rebind = parked(work)
            if rebind is not None and rebind.pids:
                rebind.rebind(bases, same_data=True, same_inodes=True)
        finally:
            for base in bases.values():
                os.close(base)
        left_out: list[str] = work.live.get("left_out", [])
        return "; ".join(("mounted again", *left_out))
