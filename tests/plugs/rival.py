"""A coordinator behind which another host may take the volume."""

from __future__ import annotations

import errno
import threading
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import ClassVar

from holdfast.coordination import Fence
from holdfast.errors import Superseded


class RivalCoordinator:
    """Remembers epochs in memory; see Coordinator. Faults are switched on from outside."""

    arbitrates: ClassVar[bool] = True

    def __init__(self) -> None:
        self.remembered: tuple[int, str] | None = None
        """Epoch and owner."""
        self.asked = 0
        self.broken = False
        """It cannot be reached; what it was asked for arrives all the same."""
        self.answers = threading.Event()
        """Cleared: every call hangs until it is set again."""
        self.answers.set()
        self.hanging = threading.Semaphore(0)
        """Released by each call that begins to hang."""

    def taken(self, epoch: int) -> None:
        """Another host goes on with the volume."""
        self.remembered = epoch, "another host"

    def turn(
        self, run_directory: Path, volume: str, wait_seconds: float
    ) -> AbstractContextManager[None]:
        return nullcontext()

    def remember(self, path: Path, known_epoch: int, epoch: int, owner: str, text: str) -> None:
        self.asked += 1
        if not self.answers.is_set():
            self.hanging.release()
            self.answers.wait()
        known = self.remembered is None or known_epoch == self.remembered[0]
        if not known and self.remembered is not None and self.remembered[1] != owner:
            raise Superseded(f"another host has raised the epoch to {self.remembered[0]}")
        self.remembered = epoch, owner
        if self.broken:
            raise OSError(errno.EHOSTUNREACH, "nobody answers")
        path.write_text(text)

    def fence(self, url: str, volume: str, owner: str) -> Fence:
        raise AssertionError("no restoration takes place here")
