"""Carrying out what was assessed: prepare unnoticed, then the steps, then what is kept of it.

Owns the order of these three. Invariant: after a failure everything was undone, or the record says
what is left.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from holdfast.catalog import Catalog
from holdfast.config import Settings
from holdfast.errors import HoldfastError
from holdfast.model.receipt import Receipt
from holdfast.model.reporter import SILENT, Reporter
from holdfast.model.restoration import RestorationStage, StepState
from holdfast.restoration.assessing.assess import Assessment, refuse
from holdfast.restoration.performing.finish import finish, undone
from holdfast.restoration.performing.prepare import begin, intent_of, prepare
from holdfast.restoration.performing.runner import Runner
from holdfast.restoration.records.work import Work
from holdfast.restoration.steps import STEPS
from holdfast.restoration.steps.parked import parked
from holdfast.restoration.steps.swap import switch_off
from holdfast.system.files.own_files import writing_own_files


def perform(
    settings: Settings,
    catalog: Catalog,
    assessment: Assessment,
    reporter: Reporter = SILENT,
    checkpoint: Callable[[str], None] = lambda place: None,
    *,
    identifier: str = "",
    cause: str = "",
) -> Receipt | None:
    """Do what was assessed; its receipt, or None when it waits for another command (detach).

    `identifier`: of the restoration and of its receipt, unique; a new one if empty. `cause`: for
    the receipt; the plan's if empty.
    The caller has its turn on the volume. Raises what keeps it from being begun, with nothing
    touched; and what made a step fail, after everything was undone.
    """
    refuse(assessment)
    plan, intent = assessment.plan, intent_of(assessment)
    restoration = begin(
        settings,
        catalog,
        intent,
        plan.strategy,
        cause or str(plan.cause),
        RestorationStage.PREPARING,
        plan.step_names,
        identifier,
    )
    for each in intent.findings:
        reporter.find(each)
    work = Work(
        settings, catalog.restorations, restoration, reporter.say, reporter.percent, reporter.find
    )
    try:
        with writing_own_files(settings.state_directory):
            prepare(work, assessment, checkpoint)
            switch_off(work)
        stage = Runner(work, STEPS, plan.waits_after, checkpoint).run()
    except BaseException as error:
        work.end_copying()
        give_up(catalog, work, error)
        raise
    work.end_copying()
    if stage is RestorationStage.WAITING:
        stopped = parked(work)
        if stopped is not None:
            stopped.leave()
        return None
    return finish(catalog, work)


def give_up(catalog: Catalog, work: Work, error: BaseException) -> None:
    """After a failure: every step that had begun is undone, or the record is kept for recover."""
    left = any(step.state is not StepState.UNDONE for step in work.restoration.steps)
    with suppress(HoldfastError):
        undone(catalog, work, str(error) or type(error).__name__, keep_record=left)
