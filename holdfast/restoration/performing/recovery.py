"""A restoration whose runner was killed is finished or undone by the next command.

Invariant: what another process is at work on is never touched (that process has the turn on the
volume), nor anything whose record cannot be read. A restoration that waits on purpose is left alone
until its deadline has passed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from holdfast.catalog import Catalog
from holdfast.config import Settings
from holdfast.errors import NoSuchReceipt, StorageFailed
from holdfast.model.plan import StepName
from holdfast.model.receipt import Receipt
from holdfast.model.recovery import Left
from holdfast.model.restoration import Restoration, RestorationStage, StepState
from holdfast.restoration.performing.finish import finish, undone
from holdfast.restoration.performing.receipts import ABANDONED
from holdfast.restoration.performing.runner import Runner
from holdfast.restoration.records.work import Work
from holdfast.restoration.steps import STEPS
from holdfast.restoration.steps.parked import refuse_unreadable
from holdfast.restoration.storage.directory import (
    forget_directory,
    left_directories,
    may_finish,
    never_began,
)
from holdfast.restoration.storage.leg_in_place import as_it_was
from holdfast.restoration.storage.old_and_new import containers_of, put_old_gate_back
from holdfast.system.boot import boot_id

Say = Callable[[str], None]

_LATE_SECONDS = 10.0
"""As long as late users stand at most, see Rebind.regain."""


def recover_one(
    settings: Settings, catalog: Catalog, restoration: Restoration, say: Say = lambda words: None
) -> str:
    """Finish or undo it; what was done, in words. The caller has its turn on the volume.

    Raises HoldfastError when something is left that could be neither finished nor undone;
    UnreadableRecord, with nothing changed, when what is parked cannot be known.
    """
    work = Work(settings, catalog.restorations, restoration, say)
    name = f"the {restoration.strategy} of {restoration.volume}"
    if restoration.stage is RestorationStage.PREPARING:
        undone(catalog, work, "interrupted while it was prepared")
        return f"{name} had not begun to stop anybody: what was prepared was removed"
    if restoration.boot_id != boot_id():
        return f"{name} {_after_restart(settings, catalog, work)}"
    refuse_unreadable(work)
    if restoration.stage is RestorationStage.WAITING:
        attach = f"holdfast volume attach {restoration.volume}"
        if not has_passed(restoration):
            return f"{name} waits on purpose: {attach}"
        return (
            f"{name} waited beyond its deadline: its users run with errors in place of files,"
            f" until {attach} gives them back"
        )
    runner = Runner(work, STEPS)
    if runner.go_on():
        finish(catalog, runner.work)
        return f"{name} was finished"
    left = [step for step in runner.work.restoration.steps if step.state is StepState.FAILED]
    if left:  # the last one was tried first: the others may have failed because of it
        undone(catalog, runner.work, "its runner died", keep_record=True)
        raise StorageFailed(
            f"it could not be undone entirely: {left[-1].name}: {left[-1].outcome}",
            "See to what is in the way, then: holdfast recover; or give it up:"
            f" holdfast recover --abandon {restoration.volume}",
        )
    undone(catalog, runner.work, "its runner died")
    left_out = runner.work.live.left_out
    if left_out:
        return Left(f"{name} was undone, but for this: {'; '.join(left_out)}")
    return f"{name} was undone"


def remove_left_directories(settings: Settings, catalog: Catalog) -> None:
    """Remove directories of restorations that have ended, or had not been entered, when their
    process was killed. Idempotent.

    What was given up keeps its directory; so does whatever the catalog does not know.
    """
    found = left_directories(settings)
    if not found:
        return
    known = {heading.id for heading in catalog.restorations.headings()}
    for identifier in found:
        if identifier in known:
            continue
        if _has_ended(catalog, identifier) or never_began(settings, identifier):
            forget_directory(settings, identifier)


def _has_ended(catalog: Catalog, identifier: str) -> bool:
    try:
        receipt = catalog.receipt(identifier)
    except NoSuchReceipt:
        return False
    return receipt.id == identifier and not receipt.outcome.startswith(ABANDONED)


def _after_restart(settings: Settings, catalog: Catalog, work: Work) -> str:
    """Decide whether the old or the new storage is the volume; what was decided, in words.

    The new storage is complete when Restore has finished. From then on programs may have written to
    it, so it must never be taken back. Before, no program has run on it.
    """
    restoration, new = work.restoration, work.new
    complete = new is not None and restoration.has_finished(StepName.RESTORE)
    complete = complete and may_finish(settings, restoration.id)
    if complete and restoration.stage is not RestorationStage.UNDOING:
        finish(catalog, work, mounted=False)
        return "was complete when the host was restarted: holdfast volume attach mounts it"
    if work.in_place and new is not None:
        as_it_was(settings, restoration.id, containers_of(new)[0])
    if new is not None:
        put_old_gate_back(settings, restoration.id, work.old, new)
    undone(catalog, work, "the host was restarted meanwhile")
    return "ended with a restart of the host: holdfast volume attach mounts it"


def go_on(
    settings: Settings, catalog: Catalog, restoration: Restoration, say: Say = lambda words: None
) -> Receipt:
    """Finish one that waits on purpose (attach). Raises HoldfastError after undoing;
    UnreadableRecord, with nothing changed, when what is parked cannot be known.

    Users who have run on at the deadline are stopped once more, for some seconds, and get their
    handles back.
    """
    work = Work(settings, catalog.restorations, restoration, say)
    refuse_unreadable(work)
    if has_passed(restoration):
        deadline_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC) + int(_LATE_SECONDS * 1e9)
        work.begin_waiting(deadline_ns, deadline_seconds=_LATE_SECONDS)
    runner = Runner(work, STEPS)
    runner.run()
    return finish(catalog, runner.work)


def has_passed(restoration: Restoration) -> bool:
    """Whether nobody can be parked any more: the deadline has passed, or the host was restarted."""
    now_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    return restoration.boot_id != boot_id() or now_ns >= restoration.deadline_ns
