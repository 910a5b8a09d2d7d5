"""Capture: record where and how the volume is mounted, in every namespace."""

from __future__ import annotations

from holdfast.model.plan import StepName
from holdfast.mountpoints.capture import capture
from holdfast.mountpoints.surplus.recording import about_recording, recordable
from holdfast.restoration.records.work import Work
from holdfast.restoration.steps.mounting import tell_of_lost


class CaptureStep:
    """Records the mounts of the volume."""

    name = StepName.CAPTURE

    def is_done(self, work: Work) -> bool:
        """Never: mounts change from one moment to the next, and looking costs little."""
        return False

    def do(self, work: Work) -> str:
        """Write down every mount point that is to be made again; tell whose are left out."""
        points = capture(work.old.mount.path)
        work.remember(captured=recordable(points))
        tell_of_lost(work, about_recording(points))
        namespaces = len({point.namespace for point in points})
        return f"{len(points)} mounts in {namespaces} namespaces"

    def undo(self, work: Work) -> str:
        """Do nothing: nothing was changed."""
        return "nothing to undo"
