"""What a killed runner left: finished or undone by whoever comes next.

Invariant: a restoration that another process is at work on is never touched (the turn on the volume
tells); one that waits on purpose is left alone until its deadline has passed.
"""

from __future__ import annotations

import time

from holdfast.catalog import Catalog
from holdfast.config import Settings
from holdfast.errors import HoldfastError
from holdfast.model.receipt import Receipt
from holdfast.model.restoration import Restoration, Stage
from holdfast.restoration.performing import Say, finish, undone
from holdfast.restoration.runner import Runner
from holdfast.restoration.steps import STEPS
from holdfast.restoration.steps.protocol import Work
from holdfast.volumes.properties import boot_id


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
        undone(settings, catalog, work, "the host was restarted meanwhile")
        return f"{name} ended with a restart of the host: holdfast volume attach mounts it"
    if restoration.stage is Stage.WAITING:
        if _nanoseconds() < restoration.deadline_ns:
            return f"{name} waits on purpose: holdfast volume attach {restoration.volume}"
        undone(settings, catalog, work, "its deadline passed while it waited to be attached")
        return f"{name} waited beyond its deadline: its users run with errors in place of files"
    runner = Runner(work, STEPS)
    if runner.go_on():
        finish(settings, catalog, runner.work)
        return f"{name} was finished"
    undone(settings, catalog, runner.work, "its runner died")
    return f"{name} was undone"


def go_on(
    settings: Settings, catalog: Catalog, restoration: Restoration, say: Say = lambda words: None
) -> Receipt:
    """Finish one that waits on purpose (attach). Raises HoldfastError after undoing."""
    work = Work(settings, catalog.restorations, restoration, say)
    runner = Runner(work, STEPS)
    runner.run()
    return finish(settings, catalog, runner.work)


def _nanoseconds() -> int:
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


__all__ = ["HoldfastError", "go_on", "recover_one"]
