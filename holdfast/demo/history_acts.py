"""The acts in which a history carries the volume: back to what was deleted, and beyond its legs."""

from __future__ import annotations

import os
import shutil
import time

from holdfast.demo.act import milliseconds, say_waits, tell
from holdfast.demo.stage import ActFailed, Stage
from holdfast.model.policy import OnLoss
from holdfast.model.reporter import Reporter
from holdfast.model.size import format_size
from holdfast.model.volume import VolumeState

AFTER_SECONDS = 1.0
"""For how long every leg is lost before the policy acts: a demo waits less than a server room."""


def bring_deleted_files_back(stage: Stage) -> None:
    """A directory is deleted by mistake, and is put back from a moment before.

    The moment is told as a position, not as a time: the clock of a host may be set meanwhile.
    """
    name, histories = stage.show().name, stage.holdfast.histories
    reporter = Reporter(say=stage.timeline.move)
    histories.keep(name, str(stage.h.folder / "history"), None, None)
    stage.timeline.event(f"a history begins: from now on {stage.h} keeps every write")
    began = time.monotonic()
    histories.copies.add(name, stage.g.url, reporter)
    took = milliseconds((time.monotonic() - began) * 1000)
    stage.timeline.event(f"{stage.g} gets a copy of the volume while they work: {took}")
    stage.pause(1.0)
    moment = f"position:{histories.show(name).position}"
    size = format_size(stage.at_rest_bytes)
    shutil.rmtree(stage.at_rest_folder)
    stage.timeline.event(
        f"somebody deletes the wrong directory: {len(stage.at_rest)} files, {size}, are gone"
    )
    stage.pause(1.0)
    began = time.monotonic()
    folder = stage.at_rest_folder.name
    stage.timeline.event(f"one command: holdfast files {name} restore {folder} --at {moment}")
    brought = histories.files.restore(name, moment, folder, reporter=reporter)
    took = milliseconds((time.monotonic() - began) * 1000)
    wrong = stage.wrong_at_rest(stage.mount)
    if brought.left or wrong:
        raise ActFailed(f"it was not brought back: {'; '.join([*brought.left, *wrong])}")
    size = format_size(brought.written_bytes)
    stage.timeline.event(f"{brought.files} files, {size}, are as they were, bit by bit: {took}")
    stage.progress()
    say_waits(stage)


def destroy_every_leg(stage: Stage) -> None:
    """All storage is destroyed for good; the volume goes on by itself, and nobody types."""
    name = stage.show().name
    stage.start_daemon()
    stage.holdfast.policies.set(name, on_loss=OnLoss.RESTORE, after_seconds=AFTER_SECONDS)
    stage.timeline.event("a daemon watches, and the volume has a policy: --on-loss restore")
    legs = (stage.e, stage.f)
    for leg in legs:
        os.truncate(leg.image, 0)
        shutil.rmtree(leg.folder)
        stage.timeline.event(f"{leg}: its image is truncated to 0 bytes, its directory removed")
    stage.until(lambda: stage.show().state is VolumeState.HELD, "the volume is held")
    stage.timeline.event("no leg is left, and none comes back: requests wait, nobody types")
    receipt = stage.receipt("promote")
    applied = format_size(receipt.bytes_replayed)
    tell(
        stage, f"{applied} of history applied, the copy on {stage.g} is the leg: released", receipt
    )
    stage.progress()
    say_waits(stage)
