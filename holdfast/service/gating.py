"""What one can ask of Holdfast about a volume's kind: that a plain mount gets a gate, or loses it.

Owns the defaults of what an administrator leaves out. Changes nothing; `Restorations` does it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from holdfast.errors import HasGate, HasNoGate, InvalidOption
from holdfast.model.plan import Strategy
from holdfast.model.receipt import Receipt
from holdfast.model.volume import ADOPTED, GATED, JournalMode, Volume
from holdfast.restoration.assessing.facts import CheckedRequest
from holdfast.restoration.storage.target import place_beside
from holdfast.service.requests import (
    DEADLINE_SECONDS,
    AssessRequest,
    OperationRequest,
    check_journal,
)


@dataclass(frozen=True)
class GateRequest(OperationRequest[Receipt]):
    """An adopted volume that is to lie below a gate, on legs of its own."""

    volume: str
    leg_urls: tuple[str, ...]
    """In sync at the end, all of them."""
    spare_urls: tuple[str, ...] = ()
    filesystem: str = ""
    """Its type; empty: as now."""
    journal: str = JournalMode.UNFLUSHED.value
    hold_timeout_seconds: float = 600.0
    hang_timeout_seconds: float = 5.0
    deadline_seconds: float = DEADLINE_SECONDS
    forced: bool = False

    def __post_init__(self) -> None:
        """Raise InvalidOption when no leg is named, or for a mode that does not exist."""
        if not self.leg_urls:
            raise InvalidOption(
                "no leg was named", f"holdfast volume gate {self.volume} --leg URL --leg URL"
            )
        check_journal(self.journal)

    def checked(self, volume: Volume) -> CheckedRequest:
        """What is asked for, with URLs normalised. Raises BadInput, HasGate."""
        if not volume.is_adopted:
            raise HasGate(
                f"{volume.name} has a gate already",
                f"holdfast leg add {volume.name} URL gives it another leg.",
            )
        request = AssessRequest(
            volume=self.volume,
            strategy=Strategy.MIGRATE,
            urls=self.leg_urls,
            spare_urls=self.spare_urls,
            filesystem=self.filesystem,
            deadline_seconds=self.deadline_seconds,
            forced=self.forced,
        )
        return replace(
            request.checked(volume),
            kind=GATED,
            journal=JournalMode(self.journal),
            hold_timeout_seconds=self.hold_timeout_seconds,
            hang_timeout_seconds=self.hang_timeout_seconds,
        )


@dataclass(frozen=True)
class UngateRequest(OperationRequest[Receipt]):
    """A gated volume that is to be a plain mount."""

    volume: str
    url: str = ""
    """The container it is to lie in; empty: an image beside its first leg that is one."""
    filesystem: str = ""
    """Its type; empty: as now."""
    deadline_seconds: float = DEADLINE_SECONDS
    forced: bool = False

    def checked(self, volume: Volume) -> CheckedRequest:
        """What is asked for, with URLs normalised. Raises BadInput, HasNoGate."""
        if volume.is_adopted:
            raise HasNoGate(
                f"{volume.name} is an adopted volume: it has no gate",
                f"holdfast migrate {volume.name} URL moves it to another container.",
            )
        request = AssessRequest(
            volume=self.volume,
            strategy=Strategy.MIGRATE,
            urls=(self.url or place_beside(volume, os.urandom(4).hex(), "plain"),),
            filesystem=self.filesystem,
            deadline_seconds=self.deadline_seconds,
            forced=self.forced,
        )
        return replace(request.checked(volume), kind=ADOPTED)
