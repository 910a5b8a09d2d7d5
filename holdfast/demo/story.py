"""The demo from beginning to end: prepare, play the acts, judge, take everything away.

Invariant: whatever happens, also Ctrl-C at any moment, nothing of the demo is left when `run`
returns, but its page; if that fails it is said, and the exit status is not 0.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from holdfast.demo.act import Act
from holdfast.demo.acts import ACTS
from holdfast.demo.applications.launch import APPLICATIONS
from holdfast.demo.dismantle import PREFIX, abandoned, dismantle, lock
from holdfast.demo.page import leave_page
from holdfast.demo.stage import AT_REST_FILES, ActFailed, DemoInterrupted, Stage
from holdfast.demo.timeline import BOLD, DIM, Timeline
from holdfast.demo.verdict import DemoVerdict, examine, tell
from holdfast.errors import HoldfastError, HostCannot, MissingRights
from holdfast.model.finding import Verdict as Ability
from holdfast.model.receipt import Receipt
from holdfast.model.size import format_size
from holdfast.service.doctor.kernel import takeover

PARENT = Path("/var/tmp")
"""A file system that survives reboots is on a disk nearly everywhere; /tmp often is memory."""

PAGE = PARENT / "holdfast-demo.html"
"""The page of what happened; the next demo replaces it."""

ROOM_BYTES = 1 << 30
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

WHAT_THEY_DO = {
    "bank": "SQLite transfers, each a durable transaction; money is neither made nor lost",
    "appender": "numbered lines, each durable (fdatasync) before the next",
    "mapper": "pages of a shared memory map, each durable (msync) in its turn",
}


def run(*, as_json: bool = False, page: Path = PAGE) -> tuple[int, DemoVerdict | None]:
    """Play the demo; exit status and verdict (None when it was interrupted). `page`: where its page
    is left.

    With `as_json` the story is told on standard error. Raises MissingRights, HostCannot.
    """
    _check_host()
    timeline = Timeline(sys.stderr if as_json else sys.stdout)
    with _signals_noted() as came:
        home = Path(tempfile.mkdtemp(prefix=PREFIX, dir=PARENT))
        held = lock(home)
        try:
            verdict, receipts = _play(home, timeline, came)
        finally:
            timeline.move("taking everything away")
            stage_left = _take_away(home, timeline)
            os.close(held)
        if came or timeline.broken:
            return (128 + came[0] if came else 128 + signal.SIGPIPE), None
        if stage_left:
            verdict.faults.append(stage_left)
        verdict.seconds = timeline.seconds
        tell(verdict, timeline)
        if leave_page(page, receipts, timeline):
            verdict.page = str(page)
        return (0 if verdict.holds else 1), verdict


def _check_host() -> None:
    if os.geteuid() != 0:
        raise MissingRights(
            "the demo mounts a volume of its own, which takes root",
            "sudo holdfast demo, or make demo.",
        )
    room = shutil.disk_usage(PARENT).free
    if room < ROOM_BYTES:
        raise HostCannot(
            f"{PARENT} has {format_size(room)} left, the demo needs {format_size(ROOM_BYTES)}",
            f"Make room in {PARENT}; the demo gives everything back.",
        )


@contextmanager
def _signals_noted() -> Iterator[list[int]]:
    """Note signals instead of dying of them; the story ends at its next wait."""
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _play(home: Path, timeline: Timeline, came: list[int]) -> tuple[DemoVerdict, list[Receipt]]:
    verdict, receipts = DemoVerdict(), list[Receipt]()
    stage: Stage | None = None
    try:
        for old in abandoned(PARENT):
            timeline.move(f"taking away a demo that was killed: {old}")
            with suppress(HoldfastError, OSError):
                dismantle(old)
        stage = Stage(home, timeline, lambda: bool(came))
        _introduce(stage)
        stage.build()
        stage.start_applications()
        timeline.event(f"the volume is mounted, {len(stage.applications)} applications work on it")
        for number, act in enumerate(ACTS, 1):
            _play_act(stage, number, act, verdict)
        timeline.line()
        timeline.line(timeline.paint("Afterwards", BOLD))
        examine(stage, verdict)
        receipts = stage.holdfast.receipts(limit=None)
    except (DemoInterrupted, ActFailed, HoldfastError, OSError, RuntimeError) as error:
        # Ctrl-C reaches the commands that we run, too: an error after it is the interruption
        if came or isinstance(error, DemoInterrupted):
            timeline.line()
            timeline.line("Interrupted: everything is taken away.")
        else:
            verdict.faults.append(f"{error}")
    finally:
        if stage is not None:
            for application in stage.applications:
                with suppress(OSError):
                    application.process.kill()
            stage.holdfast.close()
    return verdict, receipts


def _introduce(stage: Stage) -> None:
    line, paint = stage.timeline.line, stage.timeline.paint
    line(paint("Holdfast: applications keep writing while their storage is taken away", BOLD))
    line()
    line(f"  volume    512 MiB of ext4 at {stage.mount}")
    line(f"  legs      storage A ({stage.a.kind}) and storage B ({stage.b.kind})")
    line(f"  spare     storage C ({stage.c.kind})")
    for name in APPLICATIONS:
        line(f"  {name:<9} {WHAT_THEY_DO[name]}")
    line(f"  at rest   {AT_REST_FILES} files of random bytes, {format_size(stage.at_rest_bytes)}")
    line()


def _play_act(stage: Stage, number: int, act: Act, verdict: DemoVerdict) -> None:
    stage.timeline.heading(number, act.title)
    entry: dict[str, object] = {"title": act.title, "summary": act.summary}
    verdict.acts.append(entry)
    finding = next(iter(takeover()))
    if act.needs_takeover and finding.verdict is not Ability.OK:
        entry["skipped"] = finding.found
        stage.timeline.line(stage.timeline.paint(f"  skipped: {finding.found}", DIM))
        return
    stage.begin_act()
    act.play(stage)
    entry["waits_ms"] = stage.act_waits_ms()


def _take_away(home: Path, timeline: Timeline) -> str:
    """Take everything away; what could not be, in words."""
    try:
        dismantle(home)
    except (HoldfastError, OSError) as error:
        timeline.line(f"Something is left: {error}")
        return f"something is left: {error}"
    finally:
        timeline.rest()
    return ""
