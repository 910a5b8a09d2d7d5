"""The end of the demo: is everything there, and did anybody see an error?

Judges the legs without Holdfast: each is checked and mounted by itself, as a plain image. Must
never ask the gate whether its data is right.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, field
from pathlib import Path
from typing import Any

from holdfast.demo.act import milliseconds
from holdfast.demo.applications.launch import APPLICATIONS
from holdfast.demo.applications.runner import Result
from holdfast.demo.stage import VOLUME_BYTES, Stage
from holdfast.demo.storage import Storage
from holdfast.demo.timeline import BOLD, GREEN, RED, Timeline
from holdfast.late_dataclass import dataclass
from holdfast.model.volume import LegState
from holdfast.system.mounts import mount_api
from holdfast.system.mounts.mount_table import mount, unmount
from holdfast.system.storage.filesystem import check_filesystem
from holdfast.system.storage.loop import attach_private_loop


@dataclass
class DemoVerdict:
    """What the demo came to. `faults` says in words what did not hold."""

    acts: list[dict[str, Any]] = field(default_factory=list)
    """title, summary, waits_ms (by application); `skipped` with the reason."""
    applications: dict[str, Result] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    """Faults found in what each application left, the worst leg's."""
    legs: list[str] = field(default_factory=list)
    """URLs of the legs that were checked, clean and complete."""
    gate_errors: int = 0
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0
    page: str = ""
    """The file that shows what happened; empty: there is none."""

    @property
    def holds(self) -> bool:
        """Whether every invariant holds."""
        return not self.faults

    def as_json(self) -> dict[str, Any]:
        """Plain values, as `demo --json` prints them."""
        return {**asdict(self), "holds": self.holds}


def examine(stage: Stage, verdict: DemoVerdict) -> None:
    """Stop the applications, detach the volume, judge each leg by itself."""
    for application in stage.applications:
        verdict.applications[application.name] = application.stop()
    for name, result in verdict.applications.items():
        if result.errors:
            words = "; ".join(result.first_errors)
            verdict.faults.append(f"{name} saw {result.errors} errors: {words}")
    report = stage.show()
    verdict.gate_errors = report.gate.errors_returned if report.gate else 0
    if verdict.gate_errors:
        verdict.faults.append(f"the gate answered {verdict.gate_errors} requests with an error")
    stage.check_interruption()
    stage.holdfast.detach_volume(report.name)
    stage.timeline.event("the applications have ended, the volume is detached")
    urls = {leg.url for leg in report.legs if leg.state is LegState.IN_SYNC}
    storages = (stage.a, stage.b, stage.c, stage.d, stage.e, stage.f, stage.g)
    for storage in (each for each in storages if each.url in urls):
        faults = _judge(stage, storage, report.filesystem, verdict)
        verdict.faults += faults
        if not faults:
            verdict.legs.append(storage.url)
            stage.timeline.event(
                f"{storage}: file system clean; mounted without Holdfast, nothing is missing"
            )
        for fault in faults:
            stage.timeline.result(fault, good=False)


def _judge(stage: Stage, storage: Storage, filesystem: str, verdict: DemoVerdict) -> list[str]:
    """Check one leg's image as what it is: a plain file system."""
    faults = []
    stage.check_interruption()
    stage.timeline.move(f"checking {storage}")
    checked = check_filesystem(filesystem, str(storage.image))
    if not checked.clean:
        faults.append(f"{storage}: the file system is not clean: {checked.words}")
    copy = stage.home / f"copy-{storage.letter}"
    with mounted_apart(storage.image, filesystem, stage.home / "plain") as plain:
        for name in APPLICATIONS:
            # SQLite cannot open a database in WAL mode on a read-only file system.
            shutil.copytree(plain / name, copy / name)
        faults += [f"{storage}: {fault}" for fault in stage.wrong_at_rest(plain)]
    for application in stage.applications:
        found = application.verify(copy / application.name)
        lost = max(verdict.lost.get(application.name, 0), len(found))
        verdict.lost[application.name] = lost
        faults += [f"{storage}: {application.name}: {fault}" for fault in found]
    shutil.rmtree(copy)
    return faults


@contextmanager
def mounted_apart(image: Path, filesystem: str, point: Path) -> Iterator[Path]:
    """The image's root, read-only, in no mount table but for a moment: a mount namespace that
    begins meanwhile (a container, a service) would keep a mount of its own."""
    point.mkdir(exist_ok=True)
    # Not by mount's own option loop, which asks every loop device of the host for its file.
    device, loop = attach_private_loop(str(image), VOLUME_BYTES, read_only=True)
    try:
        mount(device, str(point), filesystem, "ro")
    finally:
        os.close(loop)  # from now on it detaches by itself
    try:
        place = mount_api.open_place(str(point))
        try:
            tree = mount_api.clone_tree(place)
        finally:
            os.close(place)
    finally:
        unmount(point)
    try:
        yield Path(f"/proc/self/fd/{tree}")
    finally:
        os.close(tree)


def tell(verdict: DemoVerdict, timeline: Timeline) -> None:
    """The table at the end, and the last line."""
    timeline.line()
    timeline.line(timeline.paint(_row("longest wait", APPLICATIONS), BOLD))
    for number, act in enumerate(verdict.acts, 1):
        waits = act.get("waits_ms", {})
        cells = [milliseconds(waits[name]) if waits else "skipped" for name in APPLICATIONS]
        timeline.line(_row(f"{number}  {act['summary']}", cells))
    if verdict.applications:
        results = [verdict.applications[name] for name in APPLICATIONS]
        timeline.line(_row("operations acknowledged", [f"{one.acknowledged:,}" for one in results]))
        timeline.line(_row("errors seen", [str(one.errors) for one in results]))
    if verdict.lost:
        timeline.line(_row("writes lost", [str(verdict.lost[name]) for name in APPLICATIONS]))
    timeline.line()
    for fault in verdict.faults:
        timeline.line(timeline.paint(f"FAULT  {fault}", RED))
    timeline.line(timeline.paint(_last_line(verdict), GREEN if verdict.holds else RED))


def _row(name: str, cells: Any) -> str:
    return f"  {name:<32}" + "".join(f"{cell:>12}" for cell in cells)


def _last_line(verdict: DemoVerdict) -> str:
    if not verdict.holds:
        return f"It did not hold: {len(verdict.faults)} faults, after {verdict.seconds:.0f} s."
    operations = sum(result.acknowledged for result in verdict.applications.values())
    skipped = sum("skipped" in act for act in verdict.acts)
    text = f"It held: {operations:,} operations, 0 errors, 0 writes lost, {verdict.seconds:.0f} s."
    if skipped:
        text += f" {skipped} act{' was' if skipped == 1 else 's were'} skipped."
    return text
