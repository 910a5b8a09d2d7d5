"""The record of a finished failover, hold, takeover, replacement or restoration."""

from __future__ import annotations

from dataclasses import asdict, field
from typing import Any

from holdfast.late_dataclass import dataclass


@dataclass(frozen=True)
class ReceiptStep:
    """One step of what was done, on the receipt's time line."""

    name: str
    started: float
    """Unix time, seconds."""
    seconds: float
    outcome: str


@dataclass(frozen=True)
class Receipt:
    """What happened, when, and how long anyone waited. Times are Unix seconds (UTC)."""

    id: str
    volume: str
    strategy: str
    """failover | hold | takeover | keeper-takeover | standstill | replacement | resync | journal |
    history | state | name | bad-place | promote | lost (docs/gate.md says what
    each means) |
    drill | drill-live (docs/drills.md)"""
    cause: str
    started: float
    finished: float
    outcome: str
    steps: tuple[ReceiptStep, ...] = ()
    processes: tuple[dict[str, Any], ...] = ()
    requests_held: int = 0
    errors_returned: int = 0
    longest_wait_ms: float = 0.0
    bytes_replayed: int = 0
    verification: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain values, as `receipt show --json` prints them."""
        return asdict(self)


def receipt_from_json(values: dict[str, Any]) -> Receipt:
    """The receipt that `as_json` described; unknown keys are an error (TypeError)."""
    steps = tuple(ReceiptStep(**step) for step in values.get("steps", ()))
    processes = tuple(values.get("processes", ()))
    return Receipt(**{**values, "steps": steps, "processes": processes})
