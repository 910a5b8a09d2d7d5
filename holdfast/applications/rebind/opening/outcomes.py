"""What became of each handle: compares a file with what it was when its users were stopped. Pure.

A file counts as identical when its size and modification time (in nanoseconds) agree; where only
the time differs and a digest was taken before, when the contents agree.
"""

from __future__ import annotations

import stat
from typing import Any

from holdfast.applications.rebind.parking.observed import Observed
from holdfast.late_dataclass import dataclass
from holdfast.model.handle import Handle, HandleOutcome


@dataclass(frozen=True)
class ReboundHandle:
    """A line of the receipt."""

    handle: Handle
    outcome: HandleOutcome
    note: str = ""
    more_bytes: int = 0
    """Of memory that is used now and was not before: pages that were shared copy-on-write."""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        more = {"more_bytes": self.more_bytes} if self.more_bytes else {}
        return {**self.handle.as_json(), "outcome": self.outcome, "note": self.note, **more}


def compare(before: Observed | None, after: Observed, same_data: bool) -> tuple[HandleOutcome, str]:
    """The outcome for a file that is there again, and a word about it.

    `same_data`: the caller knows that the contents are those of before (the same storage again, or
    a copy that was verified).
    """
    if not stat.S_ISREG(after.mode):
        return HandleOutcome.IDENTICAL, ""
    if before is None:
        if same_data:
            return HandleOutcome.IDENTICAL, ""
        return HandleOutcome.ROLLED_BACK, "not compared: the old storage did not answer"
    if before.size_bytes != after.size_bytes:
        return (
            HandleOutcome.ROLLED_BACK,
            f"{after.size_bytes} bytes now, {before.size_bytes} bytes before",
        )
    if before.digest and after.digest:
        if before.digest == after.digest:
            return HandleOutcome.IDENTICAL, ""
        return HandleOutcome.ROLLED_BACK, "same size, other contents"
    if before.modified_ns == after.modified_ns or same_data:
        return HandleOutcome.IDENTICAL, ""
    return HandleOutcome.ROLLED_BACK, "same size, modified at another time"
