"""Deciding: what was found goes in, a plan or a refusal comes out.

Pure: no clock, no files, no kernel. Invariants (each has a property test): the steps keep the one
fixed order; who freezes thaws, who locks unlocks; a refusal has no steps; a gated volume whose
bytes stay the same and whose file system works is never dismounted; damaged contents are never
taken from a leg or spare, which hold the same damage.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.late_dataclass import dataclass
from holdfast.model.finding import Finding, Verdict
from holdfast.model.plan import (
    BY_REFLEX,
    DAMAGED_CONTENTS,
    ORDER,
    Cause,
    Plan,
    PlannedStep,
    StepName,
    Strategy,
)

GATED = "gated"
ADOPTED = "adopted"

_PAUSE = "pause"
"""What findings about time are about."""

_MOUNT_BROKEN = frozenset({Cause.READ_ONLY, Cause.DEAD_MOUNT})
"""Causes that mounting anew mends: the storage below is well."""


@dataclass(frozen=True)
class Situation:
    """Everything that the decision depends on, as it was found. Times in seconds."""

    volume: str
    kind: str
    """gated | adopted."""
    cause: Cause = Cause.PLANNED
    asked: Strategy | None = None
    """None: whatever fits the cause."""
    same_bytes: bool = True
    """Whether the blocks below the file system will be what they are now."""
    source_given: bool = False
    """Whether other contents or another container was named."""
    older_contents: bool = False
    """Whether what was named holds other contents than the volume has now."""
    in_sync_legs: int = 0
    spares: int = 0
    processes: int = 0
    handles: int = 0
    who_has_most: str = ""
    """Of the handles, in words."""
    mount_points: int = 1
    findings: tuple[Finding, ...] = ()
    target_refused: bool = False
    """Whether the container that was named cannot be taken, by whoever would fill it."""
    forced: bool = False
    deadline_seconds: float = 60.0
    pause_budget_seconds: float = 30.0
    predicted_pause_seconds: float = 0.0
    target: str = ""
    """What it will be mounted from afterwards, in words; empty: from the same storage."""
    path: str = ""
    kind_afterwards: str = ""
    """gated | adopted; empty: it stays what it is."""
    saves_writes: bool = False
    """Whether what is only in memory is kept where the storage fails, or has failed."""
    in_place: bool = False
    """Whether the contents stay where they are, and a gate comes or goes."""
    is_broken: bool = False
    """Whether nothing can be written to the mount."""
    shows_bare_places: bool = False
    """Whether the directories below its mounts come to sight for moments."""


def make_plan(situation: Situation) -> Plan:
    """The plan for this situation; one with the strategy `refuse` when it may not be begun."""
    strategy, reason = choose(situation)
    findings = (*situation.findings, *_findings_about_time(situation, strategy))
    if strategy is Strategy.REFUSE:
        findings = (*findings, Finding("strategy", Verdict.BLOCKS, reason))
    elif situation.target_refused or (
        strategy not in BY_REFLEX and is_blocked(findings, situation.forced)
    ):
        strategy, reason = Strategy.REFUSE, _why_blocked(findings, situation.forced)
    return Plan(
        volume=situation.volume,
        strategy=strategy,
        cause=situation.cause,
        steps=_steps(situation, strategy),
        deadline_seconds=situation.deadline_seconds,
        pause_budget_seconds=situation.pause_budget_seconds,
        predicted_pause_seconds=situation.predicted_pause_seconds,
        reason=reason,
        findings=findings,
        waits_after=StepName.DISMOUNT if strategy is Strategy.DETACH else None,
    )


def choose(situation: Situation) -> tuple[Strategy, str]:
    """The strategy that fits, and why, before any finding is looked at."""
    if situation.cause in DAMAGED_CONTENTS:
        return _for_damage(situation)
    if situation.kind == GATED:
        return _for_gated(situation)
    if situation.asked in BY_REFLEX:
        return Strategy.REFUSE, "no gate is below an adopted volume: nothing happens by reflex"
    if situation.older_contents:
        return Strategy.REWIND, "other contents take the place of the present ones"
    if situation.asked is Strategy.REWIND:
        return Strategy.REFUSE, "no copy was named: --from says where the contents come from"
    if situation.source_given and situation.asked in (None, Strategy.MIGRATE):
        return Strategy.MIGRATE, _why(situation, "another container")
    return situation.asked or Strategy.REMOUNT, "the file system is mounted anew under its users"


def _for_damage(situation: Situation) -> tuple[Strategy, str]:
    if situation.asked in BY_REFLEX:
        return Strategy.REFUSE, "every leg and spare holds the same damage"
    if situation.source_given and situation.older_contents:
        return Strategy.REWIND, "damaged contents are replaced by older ones"
    return (
        Strategy.REFUSE,
        "every leg holds the same damage: only a copy helps, and none was named (--from)",
    )


def _for_gated(situation: Situation) -> tuple[Strategy, str]:
    asked = situation.asked
    if asked is Strategy.DETACH:
        return Strategy.REFUSE, "users are parked on adopted volumes only; a gated one is held"
    if situation.older_contents:
        return Strategy.REWIND, "other contents take the place of the present ones"
    if asked is Strategy.REWIND:
        return Strategy.REFUSE, "no copy was named: --from says where the contents come from"
    if not situation.same_bytes:
        return Strategy.MIGRATE, _why(situation, "another file system")
    if situation.cause in _MOUNT_BROKEN:
        return Strategy.REMOUNT, "the gate has its storage, and the file system does not work"
    if situation.source_given:
        return Strategy.STANDBY, "the gate fills the new container and lets the old one go"
    return _reflex(situation)


def _why(situation: Situation, otherwise: str) -> str:
    if situation.kind_afterwards in ("", situation.kind):
        return f"{otherwise} takes the place of the present one"
    if situation.kind_afterwards == GATED:
        return "a file system above a gate takes the place of the plain mount"
    return "a plain mount takes the place of the one above the gate"


def _reflex(situation: Situation) -> tuple[Strategy, str]:
    """What the gate does by itself. A gated volume with the same bytes stays mounted."""
    if situation.in_sync_legs > (1 if situation.cause is Cause.PLANNED else 0):
        return Strategy.FAILOVER, "another leg is in sync: the gate continues on it by itself"
    if situation.spares:
        return Strategy.STANDBY, "the gate takes its spare by itself"
    return Strategy.REATTACH, "the gate holds requests until its storage is back, then continues"


def is_blocked(findings: Sequence[Finding], forced: bool) -> bool:
    """Whether one of them keeps a restoration from being begun."""
    return bool(blockers(findings, forced))


def blockers(findings: Sequence[Finding], forced: bool) -> list[Finding]:
    """The findings that keep a restoration from being begun."""
    stopping = {Verdict.BLOCKS, Verdict.MISSING}
    if not forced:
        stopping.add(Verdict.NEEDS_FORCE)
    return [finding for finding in findings if finding.verdict in stopping]


def _why_blocked(findings: Sequence[Finding], forced: bool) -> str:
    first, *more = blockers(findings, forced)
    others = f" (and {len(more)} more)" if more else ""
    why = f" ({first.meaning})" if first.subject == _PAUSE else ""
    return f"{first.subject}: {first.found}{why}{others}"


def _findings_about_time(situation: Situation, strategy: Strategy) -> tuple[Finding, ...]:
    if strategy in BY_REFLEX or strategy is Strategy.REFUSE:
        return ()
    predicted = situation.predicted_pause_seconds
    found = f"{predicted:.1f} s are predicted"
    if predicted >= situation.deadline_seconds:
        return (
            Finding(
                _PAUSE,
                Verdict.BLOCKS,
                f"{found}, the deadline is {situation.deadline_seconds:g} s",
                _with_who(
                    "the deadline would pass before the end, and everything would be undone",
                    situation,
                ),
                "Give a later --deadline, or end who has very many handles.",
            ),
        )
    if predicted > situation.pause_budget_seconds and strategy is not Strategy.DETACH:
        return (
            Finding(
                _PAUSE,
                Verdict.NEEDS_FORCE,
                f"{found}, the budget is {situation.pause_budget_seconds:g} s",
                _with_who(
                    "clocks outside (health probes, clients' time-outs) keep running", situation
                ),
                "Do it when the volume is quieter, or add --force.",
            ),
        )
    return (Finding(_PAUSE, Verdict.OK, found),)


def _with_who(words: str, situation: Situation) -> str:
    return "; ".join(filter(None, (words, situation.who_has_most)))


def _steps(situation: Situation, strategy: Strategy) -> tuple[PlannedStep, ...]:
    if strategy in BY_REFLEX or strategy is Strategy.REFUSE:
        return ()
    keeps_storage = strategy is Strategy.REMOUNT and not situation.target
    leaves_out = {StepName.RESTORE} if strategy is Strategy.DETACH or keeps_storage else set()
    words = _words(situation, strategy)
    return tuple(PlannedStep(name, words[name]) for name in ORDER if name not in leaves_out)


def _words(situation: Situation, strategy: Strategy) -> dict[StepName, str]:
    who = f"{situation.processes} process{'' if situation.processes == 1 else 'es'}"
    handles = f"{situation.handles} handle{'' if situation.handles == 1 else 's'}"
    points = situation.mount_points
    places = situation.path if points == 1 else f"{situation.path} and {points - 1} other mounts"
    target = situation.target or "the same storage"
    restore = {
        Strategy.MIGRATE: _migrate_words(situation, target),
        Strategy.REWIND: f"put {target} in place",
    }
    return {
        StepName.FREEZE: f"stop {who}; they run again after {situation.deadline_seconds:g} s"
        f" at the latest{_for_paths(situation, strategy)}",
        StepName.CAPTURE: f"record how {places} is mounted",
        StepName.FLUSH: _flush_words(situation),
        StepName.LOCK: "take the update lock of volume and container",
        StepName.DISMOUNT: f"park {handles}, dismount {places}",
        StepName.RESTORE: restore.get(strategy, f"use {target}"),
        StepName.REMOUNT: f"mount {target} at {places} with the same options",
        StepName.REPLAY: f"move {handles} to it; calls that were interrupted run again",
        StepName.UNLOCK: "give the update lock back",
        StepName.THAW: f"let {who} go on",
    }


def _migrate_words(situation: Situation, target: str) -> str:
    if not situation.in_place:
        return f"copy to {target} what changed since the online copy"
    if situation.kind_afterwards == GATED:
        return "write what a gate has at the end of a leg, and copy nothing"
    return "take away what the gate has at the end of its leg, and copy nothing"


def _flush_words(situation: Situation) -> str:
    if situation.is_broken and situation.saves_writes:
        return (
            "save from memory what is open for writing, because storage has failed, and put it on"
            f" {situation.target or 'the storage'} before it is mounted"
        )
    words = "write what the page cache has"
    if situation.saves_writes:
        return f"{words}; if that fails, save it and put it on {situation.target}"
    return words


def _for_paths(situation: Situation, strategy: Strategy) -> str:
    """What those find who open files by path meanwhile, and hold none open; most wait."""
    if strategy is Strategy.DETACH:
        return "; who comes by path finds the bare directory until it is attached (ENOENT)"
    if situation.shows_bare_places:
        return "; who comes by path may find the bare directory for moments (ENOENT)"
    return ""
