"""Reports that need not be taken again at each look: those of adopted volumes that were well.

Such a report takes 15 ms of processor time: every mount namespace of the host is read, and two
children ask the storage. What changes meanwhile tells of itself: the mount table and the kernel's
log at once, a canary soon. Invariant: a volume with any trouble is asked at each look, and so is
one on storage that the kernel's log says nothing of (NFS, FUSE).
"""

from __future__ import annotations

import random
import time
from collections.abc import Collection, Sequence

from holdfast.model.volume import ADOPTED, VolumeReport, VolumeState

RECENT_SECONDS = 120.0
"""For what tells nobody: an image that lost its name, a mount in another namespace, a freeze."""


class RecentReports:
    """By the volume's id; for one thread."""

    def __init__(self) -> None:
        self._taken: dict[str, tuple[VolumeReport, float]] = {}
        """And until when it counts, in monotonic seconds."""

    def usable(self, troubled: Collection[str], *, is_news: bool) -> dict[str, VolumeReport]:
        """Those that still count. `troubled`: names of volumes with which something is wrong.
        `is_news`: something was seen since the last look."""
        if is_news:
            self._taken.clear()
        now = time.monotonic()
        return {
            identifier: report
            for identifier, (report, until) in self._taken.items()
            if now < until and report.name not in troubled
        }

    def note(self, reports: Sequence[VolumeReport]) -> None:
        """What the last look had."""
        now = time.monotonic()
        before, self._taken = self._taken, {}
        for report in filter(_tells_of_itself, reports):
            known = before.get(report.id)
            if known is None or known[0] is not report:  # not all at the same look again
                known = report, now + random.uniform(RECENT_SECONDS / 2, RECENT_SECONDS)
            self._taken[report.id] = known


def _tells_of_itself(report: VolumeReport) -> bool:
    return (
        report.kind == ADOPTED
        and report.state is VolumeState.HEALTHY
        and report.frozen_until is None
        and report.device.startswith("/dev/")
        and not report.filesystem.startswith("fuse")
    )
