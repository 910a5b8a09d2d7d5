"""How a drill looks on a terminal: what was expected of each part, and what it took."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.cli.output import print_facts, print_table
from holdfast.model.drill import STRATEGY, phases_of
from holdfast.model.size import format_size
from holdfast.model.time_text import milliseconds_text, time_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.model.drill import DrillPhase, LastDrill
    from holdfast.model.receipt import Receipt
    from holdfast.policy.drill_schedules import DrillSchedule

SHOWN_BY_TABLE = frozenset({"phases", "predicted_pause_ms", "last_pause", "volume_id"})
"""Details that are in the table of a drill, or for programs."""

_UNKNOWN = "-"


def drill_words(last: LastDrill | None, name: str, schedule: DrillSchedule | None = None) -> str:
    """When the last drill of a volume was, how it ended, and how often there is one, in a line."""
    often = f"; every {_interval(schedule.every_seconds)}" if schedule is not None else ""
    if last is None and schedule is not None:
        return f"never yet{often}"
    if last is None:
        return f"never: holdfast drill {name} finds out whether it could be restored"
    when = time_text(last.at)[: len("2026-01-02 03:04")]
    return f"{when} UTC, {last.outcome} (receipt {last.receipt[:8]}){often}"


def _interval(seconds: float) -> str:
    days = seconds / 86400
    return f"{days:g} d" if days >= 1 else f"{seconds / 3600:g} h"


def print_drill(receipt: Receipt) -> None:
    """The outcome, the parts and how long users would wait, and what has to be known."""
    from holdfast.receipt_page.details import detail_facts

    details = receipt.details
    subject = receipt.cause.removeprefix("drill ").removeprefix("on a clone: ")
    pairs = [("drill", subject.removeprefix("on ").removeprefix("of "))]
    for key in ("contents", "remarks", "said"):
        if key in details:
            pairs += detail_facts(key, details[key])
    if receipt.verification:
        pairs.append(("verified", receipt.verification))
    pairs.append(("outcome", receipt.outcome))
    if details.get("mend"):
        pairs.append(("mend", str(details["mend"])))
    print_facts(pairs)
    print()
    print_phases(receipt)


def print_phases(receipt: Receipt) -> None:
    """What was expected of each part, what it took; and how long users waited, or would."""
    phases = phases_of(receipt)
    if receipt.strategy != STRATEGY:
        _print_waits(phases)
        return
    rows = [
        (
            each.name,
            format_size(each.size_bytes) if each.size_bytes else "",
            _took(each.predicted_ms),
            milliseconds_text(each.measured_ms),
        )
        for each in phases
    ]
    known = [each.predicted_ms for each in phases if each.predicted_ms is not None]
    whole = _took(sum(known)) if len(known) == len(phases) else _UNKNOWN
    measured = milliseconds_text(sum(each.measured_ms for each in phases))
    rows.append(("all of it", "", whole, measured))
    if "predicted_pause_ms" in receipt.details:
        expected = _took(receipt.details["predicted_pause_ms"])
        rows.append(("pause of its users", "", expected, _pause(receipt.details.get("last_pause"))))
    columns = ("part", "size", "predicted", "measured")
    print_table(columns, rows, right=columns[1:])


def _print_waits(phases: Sequence[DrillPhase]) -> None:
    rows = [
        (
            each.name,
            _took(each.predicted_ms),
            milliseconds_text(each.measured_ms),
            _took(each.predicted_wait_ms),
            _took(each.longest_wait_ms),
        )
        for each in phases
    ]
    columns = ("part", "predicted", "measured", "wait predicted", "longest wait")
    if all(each.longest_wait_ms is None for each in phases):
        print_table(columns[:3], [row[:3] for row in rows], right=columns[1:3])
        return
    print_table(columns, rows, right=columns[1:])


def _took(milliseconds: float | None) -> str:
    return _UNKNOWN if milliseconds is None else milliseconds_text(milliseconds)


def _pause(last: Any) -> str:
    """A drill lets nobody wait: of the last restoration."""
    if not isinstance(last, dict):
        return "nobody waited"
    return f"{milliseconds_text(last['measured_ms'])} on {time_text(last['at'])[:10]}"
