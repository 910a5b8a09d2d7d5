"""Whether a leg that gets worse is replaced by a spare before it fails, and why not. Pure.

Invariants: nothing is replaced that the volume's policy does not allow, while anything else is
wrong with the volume, while anybody is at work on it, in its quiet hours, or without a spare; one
leg at a time, and after `MOST_ATTEMPTS` that failed somebody has to see to it.
"""

from __future__ import annotations

from holdfast.late_dataclass import dataclass
from holdfast.model.policy import OnWorse, Policy
from holdfast.model.volume import LegReport, LegState, VolumeReport, VolumeState
from holdfast.policy.unattended import MOST_ATTEMPTS


@dataclass(frozen=True)
class Exchange:
    """What is done now about a leg that gets worse."""

    leg: LegReport | None = None
    """The leg to be replaced now; None: none."""
    spare: str = ""
    """URL of what takes its place."""
    reason: str = ""
    """Why not, where somebody has to know; empty: they need not."""


def decide(
    report: VolumeReport,
    worse: frozenset[str],
    policy: Policy,
    *,
    is_busy: bool,
    is_quiet: bool,
    failures: int,
) -> Exchange:
    """What is done now. `worse`: ids of legs. `failures`: attempts in a row that came to
    nothing."""
    if policy.on_worse is not OnWorse.REPLACE:
        return Exchange()
    legs = [leg for leg in report.legs if leg.id in worse and leg.state is LegState.IN_SYNC]
    if not legs:
        return Exchange()
    number = legs[0].number
    spares = [leg.url for leg in report.legs if leg.state is LegState.SPARE]
    if not spares:
        return Exchange(reason=f"its policy replaces leg {number}, and there is no spare")
    if failures >= MOST_ATTEMPTS:
        return Exchange(reason=f"its policy replaces leg {number}, which failed {failures} times")
    is_held = report.gate is None or report.gate.held
    if report.state is not VolumeState.HEALTHY or is_held or is_busy or is_quiet:
        return Exchange()
    return Exchange(legs[0], spares[0])
