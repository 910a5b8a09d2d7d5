"""A coordinator behind which another host may take the volume."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from holdfast.coordination import Fence
from holdfast.errors import Superseded


class RivalCoordinator:
    """Remembers epochs in memory; see Coordinator."""

    def __init__(self) -> None:
        self.epoch: int | None = None

    def turn(
        self, run_directory: Path, volume: str, wait_seconds: float
    ) -> AbstractContextManager[None]:
        return nullcontext()

    def remember(self, path: Path, known_epoch: int, epoch: int, text: str) -> None:
        if self.epoch not in (None, known_epoch):
            raise Superseded(f"another host has raised the epoch to {self.epoch}")
        self.epoch = epoch

    def fence(self, url: str, volume: str, owner: str) -> Fence:
        raise AssertionError("no restoration takes place here")
