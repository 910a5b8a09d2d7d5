"""Lock and Unlock: nobody else changes the volume or its containers, on this host or on another.

On this host the service's turn is held all the time. A container that is an image gets a lock file
beside it, which is seen by every host that mounts the folder; `coordination.update_lock` has its
rule.
"""

from __future__ import annotations

from holdfast.coordination import COORDINATOR, Fence
from holdfast.model.plan import StepName
from holdfast.restoration.records.work import Work


def _locks(work: Work) -> list[Fence]:
    return [
        COORDINATOR.fence(url, work.restoration.volume, work.restoration.id)
        for url in work.image_urls()
    ]


class LockStep:
    """Takes the locks that keep other hosts away."""

    name = StepName.LOCK

    def is_done(self, work: Work) -> bool:
        """Never skipped: for the same restoration, taking it again changes nothing."""
        return False

    def do(self, work: Work) -> str:
        """Take the locks; waits a bounded time for another holder. Raises InUse."""
        taken: list[Fence] = []
        try:
            for lock in _locks(work):
                lock.take()
                taken.append(lock)
        except BaseException:
            for lock in reversed(taken):
                lock.give_back()
            raise
        tokens = {lock.path: lock.token for lock in taken}
        work.remember(tokens=tokens)
        return ", ".join(f"{path} (token {token})" for path, token in tokens.items()) or "the turn"

    def undo(self, work: Work) -> str:
        """Give them back."""
        for lock in _locks(work):
            lock.give_back()
        return "given back"


class UnlockStep:
    """Gives them back."""

    name = StepName.UNLOCK

    def is_done(self, work: Work) -> bool:
        """Never: giving back what is not ours does nothing."""
        return False

    def do(self, work: Work) -> str:
        """Give the locks back."""
        for lock in _locks(work):
            lock.give_back()
        return "given back"

    def undo(self, work: Work) -> str:
        """There is no way back from here."""
        return "nothing to undo"
