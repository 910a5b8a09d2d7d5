"""What a coordinator offers: the one interface between Holdfast and whoever arbitrates."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar, Protocol


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

    arbitrates: ClassVar[bool]
    """Whether somebody else may have got the volume although a gate here has the locks of its legs:
    then a gate answers nothing that needs a new epoch before that was remembered."""

    def turn(
        self, run_directory: Path, volume: str, wait_seconds: float
    ) -> AbstractContextManager[None]:
        """Be the only one who changes this volume. Raises AtWork when another one does not end.

        Given back when the process that has it dies.
        """
        ...

    def remember(self, path: Path, known_epoch: int, epoch: int, owner: str, text: str) -> None:
        """Replace what is remembered of a volume; durable when it returns.

        `path`: the file on this host. A compare-and-set: what is remembered must be of
        `known_epoch`, the one that the caller's gate knows to have been remembered last, or of the
        same `owner`, which no other gate has: an attempt of it that failed, or died, may have
        arrived all the same. Raises Superseded otherwise: somebody else has the volume, and the
        caller must not touch it any more. Raises OSError when it cannot be remembered now.
        """
        ...

    def fence(self, url: str, volume: str, owner: str) -> Fence:
        """The fence of the container at that URL. Nothing is taken yet."""
        ...
