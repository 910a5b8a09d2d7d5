"""Assessing: everything that speaks for or against a restoration, found without touching anything.

    seen     what is asked for, and what was found out
    looks    what is looked at, one function for each

Invariant: what is found here as a blocker keeps a restoration from being begun; nothing is stopped,
made or changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.config import Settings
from holdfast.errors import Blocked
from holdfast.model.plan import Plan
from holdfast.model.volume import ADOPTED, LegState, Volume, VolumeReport
from holdfast.mountpoints.covering import can_be_covered
from holdfast.restoration.assessing.looks import look_at_everything
from holdfast.restoration.assessing.plan import Situation, blockers, make_plan
from holdfast.restoration.assessing.prediction import pause_seconds
from holdfast.restoration.assessing.seen import CheckedRequest, Seen, see


@dataclass(frozen=True)
class Assessment:
    """What was found, and what would be done."""

    seen: Seen
    plan: Plan

    @property
    def verdicts(self) -> dict[int, dict[str, int]]:
        """Handles by verdict, for each process."""
        counts: dict[int, Counter[str]] = {user.pid: Counter() for user in self.seen.users}
        for each in self.seen.judged:
            counts.setdefault(each.handle.pid, Counter())[str(each.verdict)] += 1
        return {pid: dict(counter) for pid, counter in counts.items()}

    def as_json(self) -> dict[str, Any]:
        """Plain values, as `assess --json` prints them."""
        names = {user.pid: user.name for user in self.seen.users}
        return {
            "volume": self.plan.volume,
            "plan": self.plan.as_json(),
            "possible": not self.plan.refuses,
            "processes": [
                {"pid": pid, "name": names.get(pid, ""), "handles": counts}
                for pid, counts in self.verdicts.items()
            ],
            "mounts": len(self.seen.points),
        }


def assess(
    settings: Settings,
    request: CheckedRequest,
    report: VolumeReport | None,
    others: Sequence[Volume],
) -> Assessment:
    """Find out everything, decide, change nothing. Blocks some seconds where storage hangs.

    `report`: of a gated volume, what its gate says; `others`: the other volumes of this host.
    Raises NotAttached when it is not mounted, BadInput for an invalid request.
    """
    seen = see(settings, request, others)
    volume = request.volume
    legs = report.legs if report is not None else ()
    situation = Situation(
        volume=volume.name,
        kind=volume.kind,
        cause=seen.cause,
        asked=request.strategy,
        same_bytes=seen.keeps_bytes,
        source_given=bool(request.url or request.contents),
        older_contents=bool(request.contents),
        in_sync_legs=sum(leg.state is LegState.IN_SYNC for leg in legs),
        spares=sum(leg.state is LegState.SPARE for leg in legs),
        processes=len(seen.users),
        handles=len(seen.judged),
        mount_points=len(seen.points),
        findings=look_at_everything(settings, seen),
        target_refused=seen.refusal is not None,
        forced=request.forced,
        deadline_seconds=request.deadline_seconds,
        pause_budget_seconds=request.pause_budget_seconds,
        predicted_pause_seconds=_pause_seconds(seen),
        target=_target_words(seen),
        path=volume.mount.path,
        shows_bare_places=not can_be_covered(seen.points),
    )
    return Assessment(seen, make_plan(situation))


def _pause_seconds(seen: Seen) -> float:
    return pause_seconds(
        len(seen.users),
        len(seen.judged),
        len(seen.points),
        seen.look_seconds,
        gate=seen.request.volume.kind != ADOPTED,
        # Where something is copied online, that is copied ahead, too.
        carried_bytes=seen.carried.total_bytes if seen.new is None else 0,
    )


def _target_words(seen: Seen) -> str:
    if seen.new is None:
        return ""
    words = f"{seen.new.volume.mount.filesystem} on {', '.join(seen.new.urls)}"
    contents = seen.request.contents
    return f"{words} with the contents of {contents}" if contents else words


def refuse(assessment: Assessment) -> None:
    """Raise what keeps it from being begun: the container's own error, else Blocked."""
    if not assessment.plan.refuses:
        return
    if assessment.seen.refusal is not None:
        raise assessment.seen.refusal
    plan = assessment.plan
    first, *_ = blockers(plan.findings, assessment.seen.request.forced)
    raise Blocked(
        f"{plan.volume} was not touched: {plan.reason}",
        first.mend or f"holdfast assess {plan.volume} shows every finding.",
    )
