"""What is done with a gate's block device, from outside the gate's processes.

It has no state: it asks the kernel each time, so every process may call it, also after the one that
attached has died. `name` is a volume's. Invariant: what belongs to another gate, or to nobody that
we know, is never touched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from holdfast.config import Settings
from holdfast.late_dataclass import dataclass


@dataclass(frozen=True)
class ShownGate:
    """A gate whose data a path shows."""

    volume: str
    is_ours: bool
    """False: it is another HOLDFAST_HOME's, whose legs we cannot look up."""


@dataclass(frozen=True)
class Unanswered:
    """What waits for a gate of which no process lives."""

    requests: int
    connection: str
    """The kernel's end of it, in words."""


class GateDevice(Protocol):
    """The block device of one kind of front end."""

    # A gate that runs.

    def attach(self, settings: Settings, name: str, sector_bytes: int) -> str:
        """Let the kernel show the gate as a block device; its path in /dev.

        Idempotent. Asks the gate, so it blocks while that holds requests: call it in an expendable
        child. Raises HoldfastError.
        """

    def devices(self, settings: Settings, name: str) -> tuple[str, ...]:
        """Paths of the block devices that show it now: normally none or one. Does not block."""

    def is_connected(self, settings: Settings, name: str) -> bool:
        """Whether the kernel still has its end of the gate. Does not block."""

    def resized(self, device: str) -> None:
        """Let the device have the size that the gate has now. Idempotent. Raises CommandFailed."""

    def check_unused(self, settings: Settings, name: str) -> None:
        """Raise InUse, naming them, when others than the device use the gate.

        They would keep the gate from ending. Takes away what nobody has a use for (copies in other
        mount namespaces).
        """

    def close(self, settings: Settings, name: str) -> None:
        """Take the block device away; the gate runs on. Idempotent. Blocks some seconds at most.

        Raises InUse while somebody has the device open; it goes when the last one closes it.
        """

    def gate_behind(self, settings: Settings, path: str) -> ShownGate | None:
        """The gate that this file or block device shows directly. Does not block."""

    # A gate that has died.

    def volumes(self, settings: Settings) -> set[str]:
        """Names of the volumes of which the kernel still has something. Does not block."""

    def unanswered(self, settings: Settings, name: str) -> Unanswered:
        """What waits for it; nothing for a gate that lives. Raises HoldfastError, OSError."""

    def answer_with_errors(self, settings: Settings, name: str) -> list[str]:
        """End what waits for it, with errors; one sentence for each. Idempotent.

        Does nothing to a gate that lives. Raises HoldfastError, OSError.
        """

    def check_dead(self, settings: Settings, name: str) -> None:
        """Raise GateGone where the gate's end of the connection is still open."""

    def clear(self, settings: Settings, name: str) -> list[str]:
        """Take away what the kernel has of it; one sentence for each. Its mounts went before."""

    def orphan(self, device: str) -> Callable[[], object] | None:
        """How to take away this block device, if it showed a gate and cannot tell any more which;
        None for any other.

        To be called after the dismount: the device may be gone by then, and its number another's.
        The call is as `close`, and raises InUse.
        """
