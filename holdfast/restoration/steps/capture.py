"""Capture: record where and how the volume is mounted, in every namespace."""

from __future__ import annotations

from holdfast.model.plan import StepName
from holdfast.mountpoints.capture import capture
from holdfast.restoration.records.work import Work


class CaptureStep:
    """Records every mount of the volume."""

    name = StepName.CAPTURE

    def is_done(self, work: Work) -> bool:
        """Never: mounts change from one moment to the next, and looking costs little."""
        return False

    def do(self, work: Work) -> str:
        """Write down every mount point."""
        points = capture(work.old.mount.path)
        work.remember(captured=points)
        namespaces = len({point.namespace for point in points})
        return f"{len(points)} mounts in {namespaces} namespaces"

    def undo(self, work: Work) -> str:
        """Do nothing: nothing was changed."""
        return "nothing to undo"
