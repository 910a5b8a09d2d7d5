"""What a killed runner left: finished or undone by whoever comes next.

Invariant: a restoration that another process is at work on is never touched (the turn on the volume
tells); one that waits on purpose is left alone until its deadline has passed.
"""

from __future__ import annotations

import time
from contextlib import suppress

from holdfast.catalog import Catalog
from holdfast.config import Settings
from holdfast.errors import HoldfastError, StorageFailed
from holdfast.model.plan import StepName
from holdfast.model.receipt import Receipt
from holdfast.model.recovery import Left
from holdfast.model.restoration import Restoration, Stage, StepState
from holdfast.mountpoints.remount import uncover
from holdfast.restoration.performing import Say, finish, undone
from holdfast.restoration.receipts import receipt_of
from holdfast.restoration.runner import Runner
from holdfast.restoration.steps import STEPS
from holdfast.restoration.steps.mounting import release_covers
from holdfast.restoration.steps.parked import parked
from holdfast.restoration.steps.protocol import Work
from holdfast.restoration.storage import (
    NEW_GATE,
    OLD_GATE,
    directory_of,
    forget_directory,
    may_finish,
    points_from_json,
    put_old_gate_back,
)
from holdfast.restoration.update_lock import UpdateLock
from holdfast.system.boot import boot_id
from holdfast.system.cover import FILE_SYSTEM as COVER_TYPE
from holdfast.system.mountinfo import all_mount_points

_LATE_SECONDS = 10.0
"""As long as late users stand at most, see Rebind.regain."""


def recover_one(
    settings: Settings, catalog: Catalog, restoration: Restoration, say: Say = lambda words: None
) -> str:
    """Finish or undo it; what was done, in words. The caller has its turn on the volume.

    Raises HoldfastError when something is left that could be neither finished nor undone.
    """
    work = Work(settings, catalog.restorations, restoration, say)
    name = f"the {restoration.strategy} of {restoration.volume}"
    if restoration.stage is Stage.PREPARING:
        undone(settings, catalog, work, "interrupted while it was prepared")
        return f"{name} had not begun to stop anybody: what was prepared was removed"
    if restoration.boot_id != boot_id():
        return f"{name} {_after_restart(settings, catalog, work)}"
    if restoration.stage is Stage.WAITING:
        attach = f"holdfast volume attach {restoration.volume}"
        if not has_passed(restoration):
            return f"{name} waits on purpose: {attach}"
        return (
            f"{name} waited beyond its deadline: its users run with errors in place of files,"
            f" until {attach} gives them back"
        )
    runner = Runner(work, STEPS)
    if runner.go_on():
        finish(settings, catalog, runner.work)
        return f"{name} was finished"
    left = [step for step in runner.work.restoration.steps if step.state is StepState.FAILED]
    if left:
        undone(settings, catalog, runner.work, "its runner died", keep_record=True)
        raise StorageFailed(
            f"it could not be undone entirely: {left[0].name}: {left[0].outcome}",
            "See to what is in the way, then: holdfast recover; or give it up:"
            f" holdfast recover --abandon {restoration.volume}",
        )
    undone(settings, catalog, runner.work, "its runner died")
    left_out: list[str] = runner.work.live.get("left_out", [])
    if left_out:
        return Left(f"{name} was undone, but for this: {'; '.join(left_out)}")
    return f"{name} was undone"


def abandon(settings: Settings, catalog: Catalog, restoration: Restoration) -> list[str]:
    """Give it up as it stands; what is left, in words. The caller has its turn on the volume.

    Whoever is stopped goes on, with errors in place of what is parked; nothing is mounted,
    dismounted or deleted. Nothing that fails keeps it from ending.
    """
    work = Work(settings, catalog.restorations, restoration)
    words = [f"the {restoration.strategy} of {restoration.volume} was given up as it stood"]
    rebind = None
    try:
        rebind = parked(work) if restoration.boot_id == boot_id() else None
    except (HoldfastError, OSError) as error:
        words.append(
            f"who is parked could not be taken over ({error}): they go on by themselves at the"
            " deadline, with errors in place of their files"
        )
    if rebind is not None:
        pids = ", ".join(map(str, sorted(rebind.pids)))
        try:
            rebind.release()
            words.append(f"errors in place of their files have the processes {pids}")
        except OSError as error:
            words.append(f"the processes {pids} could not be let go: {error}")
    if restoration.boot_id == boot_id():
        _take_covers_away(work)
    for url in work.image_urls():
        with suppress(HoldfastError, OSError):
            UpdateLock(url, restoration.volume, restoration.id).give_back()
    words += _what_is_where(work)
    folder = directory_of(settings, restoration.id)
    catalog.restorations.end(
        restoration.id, receipt_of(restoration, f"abandoned: {'; '.join(words[1:])}")
    )
    if any((folder / name).exists() for name in (NEW_GATE, OLD_GATE)):
        words.append(f"{folder} has the state of a gate: it stays")
    else:
        forget_directory(settings, restoration.id)
    return words


def _take_covers_away(work: Work) -> None:
    paths = {point.path for point in points_from_json(work.facts.get("points", []))}
    for device in {each.device for each in all_mount_points()
                   if each.path in paths and each.filesystem == COVER_TYPE}:  # fmt: skip
        uncover(device)
    release_covers(work)


def _what_is_where(work: Work) -> list[str]:
    """Which mounts and containers of it there are."""
    words = []
    there = {(each.namespace, each.path): each for each in all_mount_points()}
    for point in points_from_json(work.facts.get("points", [])):
        each = there.get((point.namespace, point.path))
        shown = f"{each.source} ({each.filesystem}) is" if each is not None else "nothing is"
        words.append(f"{shown} mounted at {point.path}")
    for volume, state in ((work.old, "the old storage"), (work.new, "the new one, incomplete")):
        if volume is not None:
            source = volume.adoption.source if volume.adoption else ", ".join(volume.leg_urls)
            words.append(f"{source} stays: {state}")
    attach = f"holdfast volume attach {work.old.name}"
    return [*words, f"{work.old.name} counts as being on its old storage: {attach}"]


def _after_restart(settings: Settings, catalog: Catalog, work: Work) -> str:
    """Of the old and the new storage the one that has everything is the volume; in words.

    Complete is the new one as soon as Restore has finished, and from the next step on somebody may
    have written to it: it must never be taken back then. Before, nobody has run on it.
    """
    restoration, new = work.restoration, work.new
    complete = new is not None and restoration.has_finished(StepName.RESTORE)
    complete = complete and may_finish(settings, restoration.id)
    if complete and restoration.stage is not Stage.UNDOING:
        finish(settings, catalog, work, mounted=False)
        return "was complete when the host was restarted: holdfast volume attach mounts it"
    if new is not None and new.adoption is None:
        put_old_gate_back(settings, restoration.id, new.name)
    undone(settings, catalog, work, "the host was restarted meanwhile")
    return "ended with a restart of the host: holdfast volume attach mounts it"


def go_on(
    settings: Settings, catalog: Catalog, restoration: Restoration, say: Say = lambda words: None
) -> Receipt:
    """Finish one that waits on purpose (attach). Raises HoldfastError after undoing.

    Users who have run on at the deadline are stopped once more, for some seconds, and get their
    handles back.
    """
    work = Work(settings, catalog.restorations, restoration, say)
    if has_passed(restoration):
        deadline_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC) + int(_LATE_SECONDS * 1e9)
        work.begin_waiting(deadline_ns, deadline_seconds=_LATE_SECONDS)
    runner = Runner(work, STEPS)
    runner.run()
    return finish(settings, catalog, runner.work)


def has_passed(restoration: Restoration) -> bool:
    """Whether nobody can be parked any more: the deadline has passed, or the host was restarted."""
    now_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    return restoration.boot_id != boot_id() or now_ns >= restoration.deadline_ns
