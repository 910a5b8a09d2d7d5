"""Waiting, by looking again, until a leg is in sync."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from holdfast.errors import ContainerFailed, GateGone
from holdfast.model.reporter import Reporter
from holdfast.model.volume import LegState, VolumeReport
from holdfast.service.plans import find_leg

Percentage = Callable[[float], None]
"""Called with 0 to 100 while something is brought up to date."""

POLL_SECONDS = 0.1
"""How often a resynchronisation is looked at; it takes seconds at least."""

GATE_PATIENCE_SECONDS = 10.0
"""How long a gate may be away (being restarted by hand) while we only wait."""


def wait_until_in_sync(
    look: Callable[[], VolumeReport], url: str, percentage: Percentage | None = None
) -> None:
    """Block until the leg at `url` is in sync.

    Has no deadline of its own: the time depends on the leg's size. Raises ContainerFailed when it
    fails on the way, NoSuchLeg when it was removed meanwhile, GateGone when the gate stays away.
    """
    last_seen = time.monotonic()
    while True:
        report = look()
        if report.gate is not None:
            last_seen = time.monotonic()
            same = [leg for leg in report.legs if leg.url == url]
            # One that lost its name is replaced under the same one: the later leg is meant.
            leg = max(same, key=lambda leg: leg.number) if same else find_leg(report, url)
            if leg.state in (LegState.FAILED, LegState.STALE):
                raise ContainerFailed(
                    f"{url} failed before it was in sync: {leg.reason or leg.state}",
                    "Mend it and add it again, or add another container.",
                )
            done = leg.state is LegState.IN_SYNC
            if percentage is not None:
                percentage(100.0 if done else leg.resync_percent or 0.0)
            if done:
                return
        elif time.monotonic() - last_seen > GATE_PATIENCE_SECONDS:
            raise GateGone(
                f"the gate of {report.name} is gone", f"holdfast volume attach {report.name}"
            )
        time.sleep(POLL_SECONDS)


def wait_until_none_resyncs(
    look: Callable[[], dict[str, Any]], reporter: Reporter
) -> dict[str, Any]:
    """Block until no leg is being brought up to date; what the gate shows then.

    For whoever reads a leg beside its gate: an epoch ends when another leg has been, and then
    nobody could say that the one was in sync all the time. It may be for a moment (one of two legs
    is, when a history was just begun), or take as long as the leg is large. Raises GateGone.
    """
    while True:
        shown = look()
        if all(leg["state"] != LegState.RESYNCING for leg in shown["legs"]):
            return shown
        reporter.say("wait until every leg is up to date")
        time.sleep(POLL_SECONDS)
