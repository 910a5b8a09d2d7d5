"""Assessing: everything that speaks for or against a restoration, found without touching anything.

    facts    what is asked for, and what was found out
    checks   what may be in the way, one function for each

Invariant: what is found here as a blocker keeps a restoration from being begun; nothing is stopped,
made or changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from holdfast.config import Settings
from holdfast.containers import is_named_by_people
from holdfast.errors import Blocked
from holdfast.late_dataclass import dataclass
from holdfast.model.finding import Finding
from holdfast.model.plan import Plan
from holdfast.model.volume import LegState, Volume, VolumeReport
from holdfast.mountpoints.covering import can_be_covered
from holdfast.restoration.assessing.checks import check_everything
from holdfast.restoration.assessing.facts import CheckedRequest, Facts, find_facts
from holdfast.restoration.assessing.plan import Situation, blockers, make_plan
from holdfast.restoration.assessing.prediction import pause_seconds, who_has_most
from holdfast.restoration.assessing.saving import saves_writes


@dataclass(frozen=True)
class Assessment:
    """What was found, and what would be done."""

    facts: Facts
    plan: Plan

    @property
    def verdicts(self) -> dict[int, dict[str, int]]:
        """Handles by verdict, for each process."""
        counts: dict[int, Counter[str]] = {user.pid: Counter() for user in self.facts.users}
        for each in self.facts.judged:
            counts.setdefault(each.handle.pid, Counter())[str(each.verdict)] += 1
        return {pid: dict(counter) for pid, counter in counts.items()}

    def with_findings(self, more: Sequence[Finding]) -> Assessment:
        """The same with what was found afterwards, and is in nobody's way."""
        return replace(self, plan=replace(self.plan, findings=(*more, *self.plan.findings)))

    def as_json(self) -> dict[str, Any]:
        """Plain values, as `assess --json` prints them."""
        names = {user.pid: user.name for user in self.facts.users}
        return {
            "volume": self.plan.volume,
            "plan": self.plan.as_json(),
            "possible": not self.plan.refuses,
            "processes": [
                {"pid": pid, "name": names.get(pid, ""), "handles": counts}
                for pid, counts in self.verdicts.items()
            ],
            "mounts": len(self.facts.points),
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
    volume = request.volume
    legs = report.legs if report is not None else ()
    in_sync = sum(leg.state is LegState.IN_SYNC for leg in legs)
    if report is not None:
        is_filled = any(not is_named_by_people(leg.url) for leg in legs)
        request = replace(request, legs_in_sync=in_sync, is_filled=is_filled)
    facts = find_facts(settings, request, others)
    situation = Situation(
        volume=volume.name,
        kind=volume.kind,
        cause=facts.cause,
        asked=request.strategy,
        same_bytes=facts.keeps_bytes,
        source_given=bool(request.url or request.contents),
        older_contents=bool(request.contents),
        in_sync_legs=in_sync,
        spares=sum(leg.state is LegState.SPARE for leg in legs),
        processes=len(facts.users) - len(facts.asked),
        handles=len(facts.judged) - sum(len(user.handles) for user in facts.asked),
        who_has_most=who_has_most(facts.users),
        mount_points=len(facts.points),
        findings=check_everything(settings, facts),
        target_refused=facts.refusal is not None,
        forced=request.forced,
        deadline_seconds=request.deadline_seconds,
        pause_budget_seconds=request.pause_budget_seconds,
        predicted_pause_seconds=_pause_seconds(facts),
        target=_target_words(facts),
        path=volume.mount.path,
        kind_afterwards=request.kind,
        in_place=request.in_place,
        saves_writes=saves_writes(facts),
        is_broken=facts.is_broken,
        shows_bare_places=not can_be_covered(facts.points),
    )
    return Assessment(facts, make_plan(situation))


def _pause_seconds(facts: Facts) -> float:
    return pause_seconds(
        len(facts.users),
        len(facts.judged),
        len(facts.points),
        facts.look_seconds,
        gate=facts.has_gate,
        # Where something is copied online, that is copied ahead, too.
        carried_bytes=0 if facts.new and not facts.request.in_place else facts.carried.total_bytes,
    )


def _target_words(facts: Facts) -> str:
    if facts.new is None:
        return ""
    words = f"{facts.new.volume.mount.filesystem} on {', '.join(facts.new.urls)}"
    contents = facts.request.source.words or facts.request.contents
    return f"{words} with the contents of {contents}" if contents else words


def refuse(assessment: Assessment) -> None:
    """Raise what keeps it from being begun: the container's own error, else Blocked."""
    if not assessment.plan.refuses:
        return
    if assessment.facts.refusal is not None:
        raise assessment.facts.refusal
    plan = assessment.plan
    first, *_ = blockers(plan.findings, assessment.facts.request.forced)
    raise Blocked(
        f"{plan.volume} was not touched: {plan.reason}",
        first.mend or f"holdfast assess {plan.volume} shows every finding.",
    )
