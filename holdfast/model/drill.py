"""What a drill is expected to take, and what it took: values, as a receipt keeps them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from holdfast.late_dataclass import dataclass
from holdfast.model.receipt import Receipt

STRATEGY = "drill"
"""Of its receipt."""

LIVE_STRATEGY = "drill-live"
"""Of the receipt of one on the volume in use."""

ALERT_STRATEGY = "drill-alert"
"""Of the receipt of one of the way to whoever is told."""

WORKED = "done"
"""How the outcome of one begins by which a restoration would have worked."""

FAILED = "failed: "
"""How that of any other one begins."""

SLOW_BYTES_PER_SECOND = 50 << 20
"""What is counted on where nothing faster has been seen: as restoration.copying.online has it."""


@dataclass(frozen=True)
class DrillPhase:
    """One part of a drill. Times in milliseconds."""

    name: str
    started: float
    """Unix time, seconds."""
    measured_ms: float
    size_bytes: int = 0
    """What it takes longer for, the more that is; 0: nothing is."""
    predicted_ms: float | None = None
    """None: nobody has measured it before."""
    longest_wait_ms: float | None = None
    """Of whoever writes to the volume meanwhile; None: nobody was asked to wait."""
    predicted_wait_ms: float | None = None


@dataclass(frozen=True)
class LastDrill:
    """The last one of a volume, in short."""

    receipt: str
    """Its id."""
    at: float
    """When it ended, Unix seconds."""
    worked: bool
    outcome: str
    mend: str = ""


def predicted(phases: Sequence[DrillPhase], last: Receipt | None) -> tuple[DrillPhase, ...]:
    """The same with what could be expected before: from the last drill that came so far, by the
    size of what is to be done, else from the slowest rate that is counted on."""
    known = {each.name: each for each in phases_of(last)} if last is not None else {}
    found = []
    for each in phases:
        before = known.get(each.name)
        waited_ms = each.predicted_wait_ms
        if waited_ms is None and before is not None:
            waited_ms = before.longest_wait_ms
        expected_ms = _expected_ms(each.size_bytes, before)
        found.append(replace(each, predicted_ms=expected_ms, predicted_wait_ms=waited_ms))
    return tuple(found)


def _expected_ms(size_bytes: int, before: DrillPhase | None) -> float | None:
    if before is None:
        return size_bytes / SLOW_BYTES_PER_SECOND * 1000 if size_bytes else None
    if not (size_bytes and before.size_bytes):
        return before.measured_ms
    # What was small took its time for other reasons than its size.
    return before.measured_ms * max(1.0, size_bytes / before.size_bytes)


def phases_of(receipt: Receipt) -> tuple[DrillPhase, ...]:
    """As a drill's receipt has them; what cannot be read is left out."""
    found = receipt.details.get("phases")
    return tuple(
        DrillPhase(
            str(each.get("name", "")),
            _number(each.get("started")),
            _number(each.get("measured_ms")),
            int(_number(each.get("size_bytes"))),
            _number_or_none(each.get("predicted_ms")),
            _number_or_none(each.get("longest_wait_ms")),
            _number_or_none(each.get("predicted_wait_ms")),
        )
        for each in (found if isinstance(found, list | tuple) else ())
        if isinstance(each, Mapping)
    )


def as_details(phases: Sequence[DrillPhase]) -> list[dict[str, Any]]:
    """As a receipt keeps them."""
    return [
        {
            key: round(value, 3) if key.endswith("_ms") and value is not None else value
            for key, value in asdict(each).items()
        }
        for each in phases
    ]


def in_short(receipt: Receipt) -> LastDrill:
    """What others need to know of it."""
    mend = receipt.details.get("mend", "")
    worked = receipt.outcome.startswith(WORKED)
    return LastDrill(receipt.id, receipt.finished, worked, receipt.outcome, str(mend))


def _number_or_none(value: object) -> float | None:
    return None if value is None else _number(value)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
