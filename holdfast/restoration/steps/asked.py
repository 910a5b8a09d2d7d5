"""Those who are asked for permission when files are opened: they go on, and are asked again where
the volume is mounted then, before anybody comes by path."""

from __future__ import annotations

from holdfast.errors import Blocked
from holdfast.model.finding import Finding, Verdict
from holdfast.mountpoints.remount import Covered
from holdfast.restoration.records.work import Work
from holdfast.restoration.storage.permission_marks import marks_of, put_on


def note_marks(work: Work, *, is_covered: bool) -> None:
    """Write down, durably, what they have marked; the dismount takes it away.

    Raises Blocked, also where nothing covers the mount point: files could be opened unasked.
    """
    if not work.live.asked:
        return
    marks = marks_of(work.live.asked, work.points)
    if marks and not is_covered:
        raise Blocked(
            f"process {marks[0].pid} is asked for permission when files are opened, and the mount"
            " point cannot be covered while it is not",
            "End it, or let it take its fanotify marks away; then try again.",
        )
    work.remember(asked=tuple(marks))


def mark_again(work: Work, covered: Covered) -> None:
    """Let them be asked again, told where that cannot be. Idempotent, raises nothing."""
    work.tell(put_on(work.record.asked, covered.roots))
    if work.record.asked and not work.live.asked:
        # What is mounted below a cover already is reached by taking that away (see remount).
        words = "files could be opened for a moment without the permission of who is asked"
        meaning = "Whoever moved the volume was killed meanwhile."
        work.tell([Finding("fanotify", Verdict.LIMITED, words, meaning)])
