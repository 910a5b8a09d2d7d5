"""Lock and Unlock: nobody else changes the volume or its containers, on this host or on another.

On this host the service's turn is held all the time. A container that is an image gets a lock file
beside it, which is seen by every host that mounts the folder; `coordination.update_lock` has its
rule.
"""

from __future__ import annotations

from holdfast.coordination import COORDINATOR, Fence
from holdfast.errors import ContainerFailed
from holdfast.model.finding import Finding, Verdict
from holdfast.model.plan import StepName
from holdfast.model.restoration import Mode
from holdfast.restoration.records.work import Work, images_of


def _locks(work: Work) -> list[Fence]:
    return [
        COORDINATOR.fence(url, work.restoration.volume, work.restoration.id)
        for url in work.image_urls()
    ]


def _take(work: Work, lock: Fence) -> bool:
    """Take it; False where the old storage has failed and its folder with it: others will not have
    the use of it, either, and it is only let go of."""
    try:
        lock.take()
    except ContainerFailed as error:
        has_failed = work.intent.is_broken or work.record.saved is not None
        if work.intent.mode is not Mode.REPLACE or not has_failed or lock.path not in _old(work):
            raise
        words = f"the old storage has failed, and is not locked: {error.message}"
        work.tell([Finding(lock.path, Verdict.LIMITED, words)])
        return False
    return True


def _old(work: Work) -> set[str]:
    identifier = work.restoration.id
    urls = images_of(work.old)
    return {COORDINATOR.fence(url, work.restoration.volume, identifier).path for url in urls}


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
                if _take(work, lock):
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
