"""Thaw: everybody goes on, registers and signals exactly as they were."""

from __future__ import annotations

import time

from holdfast.model.plan import StepName
from holdfast.restoration.records.work import Work
from holdfast.restoration.steps.parked import keep, parked


class ThawStep:
    """Lets all users go on."""

    name = StepName.THAW

    def is_done(self, work: Work) -> bool:
        """Never skipped: releasing those who run already does nothing."""
        return False

    def do(self, work: Work) -> str:
        """Release them."""
        rebind = parked(work)
        if rebind is not None:
            rebind.release()
        keep(work, None)
        work.live.thawed_at = time.time()
        return "released"

    def undo(self, work: Work) -> str:
        """There is no way back from here."""
        return "nothing to undo"
