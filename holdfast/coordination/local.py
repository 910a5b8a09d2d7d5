"""One host decides: flock for turns, gate.json for the epoch, lock files beside images."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar

from holdfast.coordination.turn import turn
from holdfast.coordination.update_lock import UpdateLock
from holdfast.system.files.durable import replace_durably


class LocalCoordinator:
    """See Coordinator for what each method promises."""

    arbitrates: ClassVar[bool] = False

    def turn(
        self, run_directory: Path, volume: str, wait_seconds: float
    ) -> AbstractContextManager[None]:
        """A lock file in the run directory."""
        return turn(run_directory, volume, wait_seconds)

    def remember(self, path: Path, known_epoch: int, epoch: int, owner: str, text: str) -> None:
        """A gate has the locks of its legs, so nobody else can have remembered another epoch."""
        replace_durably(path, text)

    def fence(self, url: str, volume: str, owner: str) -> UpdateLock:
        """A lock file beside an image; a block device has the kernel's exclusive claim alone."""
        return UpdateLock(url, volume, owner)
