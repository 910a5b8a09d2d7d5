"""The beginning of a restoration: its record, and its new container, filled while everybody runs.

Invariant: the record is durable before anything is made. Must never stop anybody.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace

from holdfast.adopted.nameless_image import present_source
from holdfast.applications.rebind.parking.placed_contents import CopiedAhead
from holdfast.catalog import Catalog
from holdfast.config import Settings
from holdfast.errors import Blocked
from holdfast.model.finding import Finding, Verdict
from holdfast.model.plan import StepName, Strategy
from holdfast.model.restoration import Mode, Restoration, RestorationStage
from holdfast.model.volume import Volume
from holdfast.mountpoints.surplus.recording import recordable
from holdfast.restoration.assessing.assess import Assessment
from holdfast.restoration.assessing.prediction import pause_seconds, who_has_most
from holdfast.restoration.assessing.saving import saves_writes
from holdfast.restoration.copying.online import OnlineCopy, copy_online
from holdfast.restoration.copying.process.child import Copying
from holdfast.restoration.performing.copy_source import device_of, source_of
from holdfast.restoration.records.record import (
    MOST_TOLD,
    CopyPass,
    Intent,
    PrepareResult,
    RestorationRecord,
    checked_json,
)
from holdfast.restoration.records.work import Work
from holdfast.restoration.steps.parked import record_directory
from holdfast.restoration.storage.carried import copy_what_is_carried
from holdfast.restoration.storage.directory import forget_directory, make_directory
from holdfast.restoration.storage.making import make, make_in_place
from holdfast.restoration.storage.origin import check_as_known, contents_as_they_are
from holdfast.system.boot import boot_id
from holdfast.system.files.own_files import writing_own_files

_MOST_LOSSES = 20


def begin(
    settings: Settings,
    catalog: Catalog,
    intent: Intent,
    strategy: Strategy,
    cause: str,
    stage: RestorationStage,
    step_names: Sequence[StepName],
    identifier: str = "",
) -> Restoration:
    """Enter a restoration; durable on return. `identifier`: unique; a new one if empty.

    Raises InUse while there is another, CannotRecord for what could not be read again, StateFailed.
    """
    restoration = Restoration(
        id=identifier or uuid.uuid4().hex,
        volume=intent.old.name,
        strategy=strategy,
        cause=cause,
        started=time.time(),
        stage=stage,
        boot_id=boot_id(),
        step_names=tuple(step_names),
    )
    record = checked_json(restoration, RestorationRecord(intent))
    restoration = replace(restoration, record=record)
    try:
        with writing_own_files(settings.state_directory):
            make_directory(settings, restoration.id)
        catalog.restorations.begin(restoration)
    except BaseException:
        forget_directory(settings, restoration.id)
        raise
    return restoration


def intent_of(assessment: Assessment) -> Intent:
    """What is to be done, of what was assessed."""
    facts, plan = assessment.facts, assessment.plan
    volume, mode = _with_points(assessment), mode_of(assessment)
    return Intent(
        mode=mode,
        old=volume,
        points=recordable(facts.points),
        deadline_seconds=plan.deadline_seconds,
        new=None if facts.new is None else facts.new.volume,
        existed=() if facts.new is None else facts.new.existed,
        device=device_of(volume, assessment) if mode is Mode.MOVE else None,
        predicted_pause_seconds=round(plan.predicted_pause_seconds, 3),
        is_dead=facts.is_dead,
        is_broken=facts.is_broken,
        refuses_confined=not facts.request.forced and not facts.is_broken,
        saves_writes=saves_writes(facts),
        findings=_told(plan.findings),
    )


def _told(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Those that are not in order, without repetition; the first ones of very many."""
    found = tuple(dict.fromkeys(each for each in findings if each.verdict is not Verdict.OK))
    more = len(found) - MOST_TOLD
    if more <= 0:
        return found
    words = f"{more} more of them, which holdfast assess shows"
    return (*found[:MOST_TOLD], Finding("findings", Verdict.LIMITED, words))


def mode_of(assessment: Assessment) -> Mode:
    """What kind of restoration it will be."""
    if assessment.facts.new is None:
        parks = assessment.plan.strategy is Strategy.DETACH
        return Mode.PARK if parks else Mode.REMOUNT
    if assessment.facts.request.in_place:
        return Mode.IN_PLACE
    return Mode.REPLACE if assessment.facts.request.contents else Mode.MOVE


def prepare(work: Work, assessment: Assessment, checkpoint: Callable[[str], None]) -> None:
    """Make and fill the new container, where there is to be one; durable on return.

    Blocks as long as the data is large. Raises HoldfastError; Blocked when the pause is predicted
    to be too long.
    """
    new = assessment.facts.new
    if new is None:
        return
    begun = time.time()
    checkpoint("before prepare")
    if work.in_place:
        make_in_place(work.settings, work.restoration.id, new.volume)
        checkpoint("in prepare")
        checkpoint("after prepare")
        return
    work.say("prepare the container")
    place = make(work.settings, work.restoration.id, new.volume)
    checkpoint("in prepare")
    contents = assessment.facts.request.contents
    before = contents_as_they_are(contents)
    check_as_known(contents, assessment.facts.request.source)
    copying = Copying(source_of(assessment), place)
    work.live.copying = copying
    online = copy_online(
        copying,
        work.say,
        work.percent,
        lambda: _copy_ahead(work, assessment, copying),
        is_live=work.intent.mode is Mode.MOVE,
        waits_for_leases=work.intent.device is not None,
    )
    if contents_as_they_are(contents) != before:
        raise Blocked(
            f"{contents} was changed while it was copied from: what was read may be a mixture",
            "Wait until whoever writes it has ended, then try again.",
        )
    checkpoint("after prepare")
    not_kept = None
    if work.intent.mode is Mode.REPLACE:
        not_kept = copying.finish()
        work.end_copying()
    predicted_seconds = _predicted_seconds(assessment, online)
    work.remember(prepared=_prepared(online, begun, predicted_seconds, not_kept))
    work.say(f"predicted pause {predicted_seconds:.1f} s")
    _check_prediction(assessment, predicted_seconds)


def _copy_ahead(work: Work, assessment: Assessment, copying: Copying) -> tuple[CopiedAhead, float]:
    if assessment.facts.is_dead:
        return CopiedAhead(), 0.0
    return copy_what_is_carried(
        copying, assessment.facts.points, work.own_pids, record_directory(work)
    )


def _predicted_seconds(assessment: Assessment, online: OnlineCopy) -> float:
    facts = assessment.facts
    return pause_seconds(
        len(facts.users),
        len(facts.judged),
        len(facts.points),
        facts.look_seconds,
        gate=facts.has_gate,
        final_pass_seconds=online.final_pass_seconds,
        entries=online.entries,
        carried_bytes=online.ahead.left_bytes,
    )


def _prepared(
    online: OnlineCopy, begun: float, predicted_seconds: float, not_kept: dict[str, int] | None
) -> PrepareResult:
    return PrepareResult(
        started=begun,
        seconds=time.time() - begun,
        passes=tuple(
            CopyPass(round(each.seconds, 3), each.written_bytes, each.copied_files)
            for each in online.passes
        ),
        bytes=online.written_bytes,
        entries=online.entries,
        predicted_pause_seconds=round(predicted_seconds, 3),
        lost=tuple(words for each in online.passes for words in each.lost)[:_MOST_LOSSES],
        not_kept=not_kept,
    )


def _check_prediction(assessment: Assessment, predicted_seconds: float) -> None:
    plan, request = assessment.plan, assessment.facts.request
    who = who_has_most(assessment.facts.users)
    most = f" ({who})" if who else ""
    if predicted_seconds >= plan.deadline_seconds:
        raise Blocked(
            f"a pause of {predicted_seconds:.1f} s is predicted, the deadline is"
            f" {plan.deadline_seconds:g} s: too much changes between two passes{most}",
            "Try again when less is written, or give a later --deadline.",
        )
    if predicted_seconds > plan.pause_budget_seconds and not request.forced:
        raise Blocked(
            f"a pause of {predicted_seconds:.1f} s is predicted, the budget is"
            f" {plan.pause_budget_seconds:g} s{most}",
            "Try again when less is written, or add --force.",
        )


def _with_points(assessment: Assessment) -> Volume:
    """What is recorded of an adopted volume, with its mounts, and its image's name, as now."""
    volume, points = assessment.facts.request.volume, assessment.facts.points
    if volume.adoption is None:
        return volume
    source = present_source(volume.adoption.source, points[-1])
    adoption = replace(volume.adoption, source=source, points=recordable(points), boot_id=boot_id())
    return replace(volume, adoption=adoption)
