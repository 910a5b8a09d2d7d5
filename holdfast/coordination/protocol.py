"""What a coordinator offers: the one interface between Holdfast and whoever arbitrates."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol


class Fence(Protocol):
    """One container, kept for one owner on every host that can reach it."""

    path: str
    """Where others see it, for people."""

    @property
    def token(self) -> int:
        """Higher than that of every holder before, while it is ours; 0: it is not."""
        ...

    def take(self) -> None:
        """Wait a bounded time for it. Idempotent for the same owner. Raises InUse."""
        ...

    def give_back(self) -> None:
        """Let go of it, when it is ours. Idempotent."""
        ...


class Coordinator(Protocol):
    """Says who may change a volume, and remembers how far it has come."""

    def turn(
        self, run_directory: Path, volume: str, wait_seconds: float
    ) -> AbstractContextManager[None]:
        """Be the only one who changes this volume. Raises InUse when another one does not end.

        Given back when the process that has it dies.
        """
        ...

    def remember(self, path: Path, known_epoch: int, epoch: int, text: str) -> None:
        """Replace what is remembered of a volume; durable when it returns.

        `path`: the file on this host. A compare-and-set: `known_epoch` is the one that the caller
        remembered last. Raises Superseded when another one is remembered: somebody else has the
        volume, and the caller must not touch it any more. Raises OSError when it cannot be
        remembered now; what was is then as before.
        """
        ...

    def fence(self, url: str, volume: str, owner: str) -> Fence:
        """Of the container at that URL. Nothing is taken yet."""
        ...
