"""Replay: the handles move to the new mount, and what was interrupted runs again on it.

From here on there is no way back: a handle that cannot be moved is told in the receipt, and the
others go on.
"""

from __future__ import annotations

import os

from holdfast.model.plan import StepName
from holdfast.restoration.steps.mounting import mount_storage
from holdfast.restoration.steps.parked import parked
from holdfast.restoration.steps.protocol import Work


class Replay:
    """See the module."""

    name = StepName.REPLAY

    def is_done(self, work: Work) -> bool:
        """Never skipped: the record of what is parked knows what is left to do."""
        return False

    def do(self, work: Work) -> str:
        """Rebind every handle; the outcomes are remembered for the receipt."""
        bases: dict[int, int] | None = work.live.pop("bases", None)
        if bases is None:
            bases = mount_storage(work, work.new or work.old)
        try:
            rebind = parked(work)
            same = bool(work.facts.get("same_data"))
            stopped = rebind is not None and rebind.pids
            # What somebody mounted again himself may be another file system than before.
            is_other = "stale" in work.facts and bool(work.facts.get("dead"))
            same_inodes = work.new is None and not is_other
            outcomes = (
                rebind.rebind(bases, same_data=same, same_inodes=same_inodes)
                if rebind and stopped
                else []
            )
        finally:
            for base in bases.values():
                os.close(base)
        counts: dict[str, dict[str, dict[str, int]]] = {}
        notes = []
        for each in outcomes:
            kinds = counts.setdefault(str(each.handle.pid), {})
            kind = kinds.setdefault(str(each.handle.kind), {})
            kind[str(each.outcome)] = kind.get(str(each.outcome), 0) + 1
            if each.note:
                notes.append(f"{each.handle.pid} {each.handle.path}: {each.outcome}, {each.note}")
        work.remember(outcomes=counts, notes=notes[:100])
        return f"{len(outcomes)} handles"

    def undo(self, work: Work) -> str:
        """There is no way back from here."""
        return "nothing to undo"
