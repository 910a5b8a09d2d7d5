"""The acts: each breaks or moves the storage in one way, waits for the end of it, and tells it.

An act is a function of the stage; it raises ActFailed when what it promises does not come true. How
long the applications waited is measured around it by the story.
"""

from __future__ import annotations

import os
import random
import statistics
import time

from holdfast.demo.act import Act, milliseconds, say_waits, tell
from holdfast.demo.history_acts import bring_deleted_files_back, destroy_every_leg
from holdfast.demo.stage import HANG_TIMEOUT_SECONDS, ActFailed, Stage
from holdfast.demo.storage import Storage
from holdfast.model.receipt import Receipt
from holdfast.model.reporter import Reporter
from holdfast.model.size import format_size
from holdfast.model.volume import VolumeState
from holdfast.service import MigrateRequest
from holdfast.system.mounts.mount_table import mount_at, mounts_from

KILLS = 20
KILLS_PER_LINE = 5
HELD_SECONDS = 2.0
TARGET_FILESYSTEM = "xfs"

QUIET_SECONDS = 3.0
"""After that a gate has cleared the write-intent bits of all that is not being written, so that a
leg which goes now lacks only what is written while it is away."""


def destroy_a_leg(stage: Stage) -> None:
    """A leg's image is truncated to nothing while it is written to."""
    number = stage.number(stage.a)
    stage.timeline.event(f"{stage.a}: its image is truncated to 0 bytes")
    os.truncate(stage.a.image, 0)
    stage.until_lost(stage.a)
    receipt = stage.receipt("failover")
    tell(stage, f"leg {number} has failed, its requests went to {stage.b}", receipt)
    stage.progress()
    say_waits(stage)


def take_in_the_spare(stage: Stage) -> None:
    """The spare takes the failed leg's place by itself and is filled."""
    receipt = stage.receipt("replacement")
    ago = time.time() - receipt.started
    stage.timeline.event(f"{stage.c}, the spare, takes its place; nobody had to ask", ago)
    tell(stage, f"{stage.c} is in sync after {_took(receipt)}", receipt)
    stage.until_healthy(stage.b, stage.c)
    stage.progress()
    say_waits(stage)


def _took(receipt: Receipt) -> str:
    """How long it took, and how little was copied when it was not everything."""
    last = receipt.steps[-1].started if receipt.steps else receipt.finished
    text = milliseconds((last - receipt.started) * 1000)
    regions = next((step.outcome for step in receipt.steps if step.name == "joined"), "").split()
    if len(regions) > 2 and regions[0] != regions[2]:
        text += f", {regions[0]} of {regions[2]} MiB copied"
    return text


def hang_a_leg(stage: Stage) -> None:
    """A storage server is stopped: it takes requests and never answers."""
    number = stage.number(stage.b)
    stage.pause(QUIET_SECONDS)
    stage.timeline.event(f"{QUIET_SECONDS:g} s of normal work: {stage.b} and {stage.c} agree")
    stage.b.freeze()
    stage.timeline.event(f"{stage.b}: its server is stopped (SIGSTOP) and answers nothing any more")
    stage.until_lost(stage.b)
    receipt = stage.receipt("failover")
    seconds = f"{HANG_TIMEOUT_SECONDS:g} s"
    tell(stage, f"leg {number} gave no answer for {seconds}: {stage.c} took its requests", receipt)
    stage.progress()
    say_waits(stage)
    stage.pause(0.5)
    stage.b.thaw()
    stage.timeline.event(f"{stage.b}: its server continues (SIGCONT)")
    _await_return(stage, stage.b, stage.b, stage.c)


def _await_return(stage: Stage, storage: Storage, *expected: Storage) -> None:
    stage.until_healthy(*expected)
    receipt = stage.receipt("resync")
    text = f"{storage} was brought up to date and is a leg again: {_took(receipt)}"
    tell(stage, text, receipt)


def kill_the_driver(stage: Stage) -> None:
    """The process that serves the kernel's requests dies, again and again."""
    all_waits: list[float] = []
    for first in range(1, KILLS + 1, KILLS_PER_LINE):
        waits = [_kill_worker(stage) for _ in range(KILLS_PER_LINE)]
        all_waits += waits
        last = first + KILLS_PER_LINE - 1
        words = ", ".join(f"{wait:.0f}" for wait in waits)
        stage.timeline.event(f"kills {first:>2} to {last:>2} (-9): longest waits {words} ms")
    median, worst = statistics.median(all_waits), max(all_waits)
    stage.timeline.result(
        f"longest wait per kill: median {milliseconds(median)}, worst {milliseconds(worst)};"
        f" {stage.errors() or 'no'} errors",
        good=not stage.errors(),
    )


def _kill_worker(stage: Stage) -> float:
    """Kill one worker at a moment of chance; the longest wait of any application."""
    stage.pause(random.uniform(0.02, 0.08))
    stage.begin_window()
    victim = stage.worker_pid()
    stage.holdfast.legs.drill(stage.show().name, "worker-kill")
    stage.until(lambda: stage.worker_pid() != victim, "another worker serves")
    stage.progress(5)
    return max(stage.waits_ms().values())


def lose_both_legs(stage: Stage) -> None:
    """No storage is left: requests are held. Then one leg comes back."""
    for storage, what in ((stage.b, "is killed"), (stage.c, "is killed too: no leg is left")):
        storage.die()
        stage.timeline.event(f"{storage}: its server {what}")
        stage.until_lost(storage)
    stage.until(lambda: stage.show().state is VolumeState.HELD, "the volume is held")
    stage.timeline.event("the volume is held: requests wait, nobody gets an error")
    stage.pause(HELD_SECONDS)
    waiting = {each.name: each.snapshot().waiting_since_ns for each in stage.applications}
    if not all(waiting.values()):
        raise ActFailed("an application went on although there is no storage")
    say_waits(stage)
    stage.c.start()
    stage.timeline.event(f"{stage.c}: its server is back")
    receipt = stage.receipt("hold")
    replayed = format_size(receipt.bytes_replayed)
    tell(stage, f"recognised as current, {replayed} replayed from the journal: released", receipt)
    stage.progress()
    say_waits(stage)
    stage.b.start()
    stage.timeline.event(f"{stage.b}: its server is back")
    _await_return(stage, stage.b, stage.b, stage.c)


def replace_a_leg(stage: Stage) -> None:
    """Planned work: a leg moves to other storage while it is in use."""
    number = stage.number(stage.b)
    stage.timeline.event(f"leg {number} is to move from {stage.b} to {stage.d}, {stage.d.kind}")
    stage.holdfast.legs.replace(stage.show().name, str(number), stage.d.url, wait=False)
    stage.until_healthy(stage.c, stage.d)
    receipt = stage.receipt("replacement", "leg ")
    tell(stage, f"{stage.d} is in sync, {stage.b} has left: {_took(receipt)}", receipt)
    stage.progress()
    say_waits(stage)


def move_to_another_file_system(stage: Stage) -> None:
    """The volume is dismounted under the applications and comes back from other storage, as XFS."""
    before = mount_at(stage.mount)
    stage.timeline.event(
        f"the volume is to move from {stage.c} and {stage.d} to {stage.e} and {stage.f}, as XFS"
    )
    name = stage.show().name
    receipt = stage.holdfast.restorations.migrate(
        MigrateRequest(name, (stage.e.url, stage.f.url), filesystem=TARGET_FILESYSTEM),
        Reporter(say=stage.timeline.move),
    )
    after = mount_at(stage.mount)
    if receipt is None or before is None or after is None:
        raise ActFailed("the volume was not moved by dismounting it")
    if after.filesystem != TARGET_FILESYSTEM or any(
        each.filesystem == before.filesystem for each in mounts_from(before.source)
    ):
        raise ActFailed(f"{after.filesystem} is mounted, and {before.filesystem} may still be")
    for step in receipt.steps:
        if step.name in _MOVE_IN_WORDS:
            ago = max(0.0, time.time() - step.started - step.seconds)
            stage.timeline.event(_MOVE_IN_WORDS[step.name].format(step.outcome), ago)
    stage.until_healthy(stage.e, stage.f)
    stage.timeline.event(f"{stage.f} is in sync with {stage.e}")
    stage.progress()
    say_waits(stage)


_MOVE_IN_WORDS = {
    "prepare": "everything is copied while they work",
    "freeze": "its users are stopped, and nobody else: {}",
    "dismount": "their files, maps and locks are parked; umount: ext4 is gone",
    "restore": "what changed since then is copied, and all of it compared",
    "remount": "XFS is mounted in the same place",
    "replay": "their files, maps and locks lead there now",
    "thaw": "they go on",
}
"""Steps of the receipt, as the audience reads them; {}: what came of it."""

ACTS = (
    Act("A leg is destroyed", "leg truncated, failover", destroy_a_leg),
    Act("The spare takes its place", "spare resynchronised", take_in_the_spare),
    Act("A leg hangs", f"leg hung {HANG_TIMEOUT_SECONDS:g} s, failover", hang_a_leg),
    Act(
        f"The storage driver is killed {KILLS} times",
        f"driver killed {KILLS} times",
        kill_the_driver,
        needs_takeover=True,
    ),
    Act("Both legs are gone, one returns", f"held {HELD_SECONDS:g} s, replayed", lose_both_legs),
    Act("A leg is replaced on purpose", "leg replaced", replace_a_leg),
    Act("From ext4 to XFS under open files", "dismounted, now XFS", move_to_another_file_system),
    Act(
        "Files are deleted by mistake",
        "deleted files put back",
        bring_deleted_files_back,
        needs_takeover=True,  # a history is begun by one
    ),
    Act(
        "Every leg is destroyed",
        "lost, restored by itself",
        destroy_every_leg,
        needs_takeover=True,  # its copy and history are those of the act before
    ),
)
