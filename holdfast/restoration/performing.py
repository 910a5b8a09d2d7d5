"""Carrying out what was assessed: prepare unnoticed, then the steps, then what is kept of it.

Owns the life of one entry in the catalog's restorations. Invariant: it is entered before anything
is made, and removed, together with the writing of its receipt, when nothing is left to be done.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from holdfast.adopted.nameless_image import present_source
from holdfast.adopted.properties import properties
from holdfast.applications.rebind.parking.placed_contents import Progress as CopiedAhead
from holdfast.catalog import Catalog
from holdfast.config import Settings
from holdfast.errors import Blocked, HoldfastError, NotFound
from holdfast.model.receipt import Receipt
from holdfast.model.restoration import Copy, Restoration, Stage
from holdfast.model.volume import Volume
from holdfast.mountpoints.capture import capture
from holdfast.restoration import target
from holdfast.restoration.assess import Assessment, refuse
from holdfast.restoration.carried import copy_what_is_carried
from holdfast.restoration.copy_source import device_of, source_of
from holdfast.restoration.copying.child import Copying
from holdfast.restoration.hidden import about_hidden
from holdfast.restoration.online import copy_online
from holdfast.restoration.prediction import pause_seconds
from holdfast.restoration.receipts import receipt_of
from holdfast.restoration.runner import Runner
from holdfast.restoration.steps import STEPS
from holdfast.restoration.steps.parked import parked, record_directory
from holdfast.restoration.steps.protocol import Work
from holdfast.restoration.storage import (
    OLD_GATE,
    directory_of,
    forget_directory,
    make_directory,
    points_from_json,
    volume_as_json,
)
from holdfast.system.boot import boot_id

Say = Callable[[str], None]
Percent = Callable[[float], None]
Checkpoint = Callable[[str], None]


def perform(
    settings: Settings,
    catalog: Catalog,
    assessment: Assessment,
    say: Say = lambda words: None,
    percent: Percent = lambda percent: None,
    checkpoint: Checkpoint = lambda place: None,
) -> Receipt | None:
    """Do what was assessed; its receipt, or None when it waits for another command (detach).

    The caller has its turn on the volume. Raises what keeps it from being begun, with nothing
    touched; and what made a step fail, after everything was undone.
    """
    refuse(assessment)
    work = _begin(settings, catalog, assessment, say, percent)
    try:
        _prepare(work, assessment, checkpoint)
        runner = Runner(work, STEPS, assessment.plan.waits_after, checkpoint)
        stage = runner.run()
    except BaseException as error:
        _end_copying(work)
        _abandon(catalog, work, error)
        raise
    _end_copying(work)
    if stage is Stage.WAITING:
        stopped = parked(work)
        if stopped is not None:
            stopped.leave()
        return None
    return finish(settings, catalog, work)


def finish(settings: Settings, catalog: Catalog, work: Work, *, mounted: bool = True) -> Receipt:
    """Keep the volume as it is now, the old storage as a copy, and the receipt. Idempotent.

    `mounted`: it is mounted, not only recorded; after a restart of the host it is not.
    """
    old, new = work.old, work.new
    now = new or old
    if now.adoption is not None and mounted:
        with suppress(NotFound, HoldfastError):
            now = _as_mounted(now)
    if catalog_has(catalog, now.name):
        catalog.update(replace(now, attached=True))
    if new is not None:
        catalog.restorations.add_copy(_copy_of(work, old))
    catalog.ingest(directory_of(settings, work.restoration.id) / OLD_GATE / "spool")
    failed = [step for step in work.restoration.steps if step.state == "failed"]
    work.remember(verification=_verification(work))
    if mounted:
        _tell_hidden(work)
    outcome = "done" if not failed else f"done, but {failed[0].name} failed: {failed[0].outcome}"
    receipt = receipt_of(work.restoration, outcome, work.live.get("thawed_at"))
    catalog.restorations.end(work.restoration.id, receipt)
    forget_directory(settings, work.restoration.id)
    return receipt


def undone(
    settings: Settings, catalog: Catalog, work: Work, why: str, keep_record: bool = False
) -> Receipt:
    """Take back what was prepared, write the receipt, forget the rest. Idempotent.

    `keep_record`: something could not be undone; `recover` tries again.
    """
    values = work.facts.get("storage")
    if values is not None and not keep_record:
        with suppress(HoldfastError, OSError):
            work.facts["removed"] = target.remove(target.from_json(values))
    _tell_hidden(work)
    receipt = receipt_of(work.restoration, f"undone: {why}")
    if not keep_record:
        catalog.restorations.end(work.restoration.id, receipt)
        forget_directory(settings, work.restoration.id)
    return receipt


def _tell_hidden(work: Work) -> None:
    """Add to the findings what newcomers made below the mounts. Not durable: for the receipt."""
    if "frozen_at" in work.facts:
        points = points_from_json(work.facts["points"])
        found = about_hidden(points, float(work.facts["frozen_at"]))
        told = [finding.as_json() for finding in found]
        work.facts["findings"] = [*work.facts.get("findings", ()), *told]


def catalog_has(catalog: Catalog, name: str) -> bool:
    """Whether the volume is (still) in the catalog."""
    try:
        catalog.volume(name)
    except NotFound:
        return False
    return True


def _begin(
    settings: Settings, catalog: Catalog, assessment: Assessment, say: Say, percent: Percent
) -> Work:
    request, plan = assessment.seen.request, assessment.plan
    volume = _with_points(request.volume, assessment)
    facts: dict[str, Any] = {
        "old": volume_as_json(volume),
        "points": [asdict(point) for point in assessment.seen.points],
        "deadline_seconds": plan.deadline_seconds,
        "predicted_pause_seconds": round(plan.predicted_pause_seconds, 3),
        "dead": assessment.seen.is_dead,
        "broken": assessment.seen.is_broken,
        "same_data": not request.contents,
        "refuses_confined": not request.forced and not assessment.seen.is_broken,
        "from": _where(volume),
        "filesystem": volume.mount.filesystem,
        "findings": [finding.as_json() for finding in plan.findings if finding.verdict != "ok"],
    }
    new = assessment.seen.new
    if new is not None:
        facts["new"] = volume_as_json(new.volume)
        facts["storage"] = target.as_json(new)
        facts["to"] = ", ".join(new.urls)
        facts["filesystem"] = f"{volume.mount.filesystem} to {new.volume.mount.filesystem}"
        facts["from_live"] = not request.contents
        device = device_of(volume, assessment)
        if device is not None and not request.contents:
            facts["device"] = asdict(device)
    restoration = Restoration(
        id=uuid.uuid4().hex,
        volume=volume.name,
        strategy=plan.strategy,
        cause=str(plan.cause),
        started=time.time(),
        stage=Stage.PREPARING,
        boot_id=boot_id(),
        step_names=plan.step_names,
        facts=facts,
    )
    make_directory(settings, restoration.id)
    catalog.restorations.begin(restoration)
    return Work(settings, catalog.restorations, restoration, say, percent)


def _prepare(work: Work, assessment: Assessment, checkpoint: Checkpoint) -> None:
    """Make and fill the new container while everybody runs."""
    new = assessment.seen.new
    if new is None:
        return
    begun = time.time()
    checkpoint("before prepare")
    work.say("prepare the container")
    place = target.prepare(work.settings, work.restoration.id, new)
    checkpoint("in prepare")
    request = assessment.seen.request
    copying = Copying(source_of(assessment), place)
    work.live["copying"] = copying
    online = copy_online(
        copying,
        work.say,
        work.percent,
        lambda: _copy_ahead(work, assessment, copying),
        is_live=not request.contents,
        waits_for_leases="device" in work.facts,
    )
    checkpoint("after prepare")
    if request.contents:
        work.remember(not_kept=copying.finish())
        copying.close()
        del work.live["copying"]
    passes = [
        {"seconds": round(each.seconds, 3), "bytes": each.written_bytes, "files": each.copied_files}
        for each in online.passes
    ]
    predicted = pause_seconds(
        len(assessment.seen.users),
        len(assessment.seen.judged),
        len(assessment.seen.points),
        assessment.seen.look_seconds,
        gate=not new.volume.is_adopted,
        final_pass_seconds=online.final_pass_seconds,
        entries=online.entries,
        carried_bytes=online.ahead.left_bytes,
    )
    work.remember(
        online={"passes": passes, "bytes": online.written_bytes, "entries": online.entries},
        lost=[words for each in online.passes for words in each.lost][:20],
        predicted_pause_seconds=round(predicted, 3),
        prepared={
            "started": begun,
            "seconds": time.time() - begun,
            "outcome": f"{len(passes)} passes, {online.written_bytes} bytes",
        },
    )
    work.say(f"predicted pause {predicted:.1f} s")
    _check_prediction(assessment, predicted)


def _copy_ahead(work: Work, assessment: Assessment, copying: Copying) -> tuple[CopiedAhead, float]:
    if assessment.seen.is_dead:
        return CopiedAhead(), 0.0
    return copy_what_is_carried(
        copying, assessment.seen.points, work.own_pids, record_directory(work)
    )


def _check_prediction(assessment: Assessment, predicted: float) -> None:
    plan, request = assessment.plan, assessment.seen.request
    if predicted >= plan.deadline_seconds:
        raise Blocked(
            f"a pause of {predicted:.1f} s is predicted, the deadline is"
            f" {plan.deadline_seconds:g} s: too much changes between two passes",
            "Try again when less is written, or give a later --deadline.",
        )
    if predicted > plan.pause_budget_seconds and not request.forced:
        raise Blocked(
            f"a pause of {predicted:.1f} s is predicted, the budget is"
            f" {plan.pause_budget_seconds:g} s",
            "Try again when less is written, or add --force.",
        )


def _end_copying(work: Work) -> None:
    copying: Copying | None = work.live.pop("copying", None)
    if copying is not None:
        copying.close()


def _abandon(catalog: Catalog, work: Work, error: BaseException) -> None:
    """After a failure: what the runner has undone is complete, or kept for recover."""
    left = any(step.state == "failed" for step in work.restoration.steps)
    words = str(error) or type(error).__name__
    with suppress(HoldfastError):
        undone(work.settings, catalog, work, words, keep_record=left)


def _with_points(volume: Volume, assessment: Assessment) -> Volume:
    """What is recorded of an adopted volume, with its mounts, and its image's name, as now."""
    if volume.adoption is None:
        return volume
    points = assessment.seen.points
    source = present_source(volume.adoption.source, points[-1])
    adoption = replace(volume.adoption, source=source, points=points, boot_id=boot_id())
    return replace(volume, adoption=adoption)


def _as_mounted(volume: Volume) -> Volume:
    """An adopted volume with its properties as they are after the remount."""
    points = capture(volume.mount.path)
    mount, adoption = properties(points, volume.mount.path)
    recorded = volume.adoption
    assert recorded is not None
    return replace(
        volume,
        mount=replace(mount, label=mount.label or volume.mount.label),
        adoption=replace(
            adoption,
            source=recorded.source,
            loop_options=recorded.loop_options,
            super_options=recorded.super_options,
        ),
    )


def _where(volume: Volume) -> str:
    return volume.adoption.source if volume.adoption else ", ".join(volume.leg_urls)


def _copy_of(work: Work, old: Volume) -> Copy:
    source = old.adoption.source if old.adoption else ""
    gated = old.adoption is None
    return Copy(
        id=work.restoration.id,
        volume=old.name,
        urls=old.leg_urls if gated else (source,),
        filesystem=old.mount.filesystem,
        uuid=old.mount.uuid,
        volume_id=old.id if gated else "",
        made=float(work.facts.get("copied_until", time.time())),
        origin=str(work.restoration.strategy),
    )


def _verification(work: Work) -> str:
    """What was really compared, in words."""
    facts = work.facts
    words = []
    verified = facts.get("verified")
    if verified is not None:
        words.append(
            f"{verified['entries']} names compared with the dismounted source: kinds, owners,"
            " modes, sizes, times, links"
        )
    elif facts.get("online") and facts.get("same_data"):
        words.append("names compared with the source while everybody was stopped")
    elif facts.get("online"):
        words.append(f"{facts['online']['entries']} names compared with what was copied")
    outcomes: dict[str, int] = {}
    for kinds in facts.get("outcomes", {}).values():
        for results in kinds.values():
            for outcome, count in results.items():
                outcomes[outcome] = outcomes.get(outcome, 0) + count
    words += [f"{count} handles {outcome}" for outcome, count in sorted(outcomes.items())]
    return "; ".join(words)
