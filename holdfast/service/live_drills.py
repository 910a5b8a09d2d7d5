"""What is rehearsed on a volume in use, where nothing can be lost: `drill_live`.

An adopted one is mounted anew from its own storage, under its users: a restoration, but for other
contents. Of a gated one the worker of its gate is killed; and where redundancy is left, or the
administrator says so, a leg fails and comes back; a canary writes to the volume meanwhile, as an
application does, and measures how long it waits. Invariant: nothing is begun on a volume with which
anything is wrong.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from holdfast.coordination import COORDINATOR
from holdfast.coordination.turn import WAIT_SECONDS
from holdfast.errors import (
    Blocked,
    ContainerFailed,
    DeadlinePassed,
    HoldfastError,
    StorageFailed,
)
from holdfast.model.drill import LIVE_STRATEGY, WORKED
from holdfast.model.plan import Strategy
from holdfast.model.receipt import Receipt
from holdfast.model.reporter import SILENT, Reporter
from holdfast.model.volume import LegState, VolumeReport, VolumeState, check_name
from holdfast.restoration.assessing.assess import Assessment, refuse
from holdfast.service.course import Course
from holdfast.service.drilling import LiveDrillRequest
from holdfast.service.holdfast import Holdfast
from holdfast.service.requests import AssessRequest
from holdfast.service.rights import need_root
from holdfast.service.seen import shown_volumes
from holdfast.system.children.expendable import begun_in_expendable_child

MOUNT_ANEW = "mount it anew"
END_THE_WORKER = "end the gate's worker"
FAIL_A_LEG = "fail a leg, and bring it back"

_FAULT_SECONDS = 1.0
"""How long a leg returns errors: it is looked at again some seconds later."""

_PATIENCE_SECONDS = 120.0
"""For a worker to take over, or a leg to come back: both take seconds."""

_POLL_SECONDS = 0.02

_PIECE_BYTES = 4096
_PAUSE_MILLISECONDS = 5
"""Between two writes of the canary: they are there to wait, not to load anything."""


def plan_live(holdfast: Holdfast, request: LiveDrillRequest) -> list[str]:
    """What would be done, in words, after all checks. Changes nothing. Raises Blocked,
    NotAttached."""
    need_root()
    if holdfast.catalog.volume(check_name(request.volume)).is_adopted:
        found = _assessed(holdfast, request)
        who = len(found.facts.users)
        seconds = found.plan.predicted_pause_seconds
        words = f"{who} process{'' if who == 1 else 'es'} may stand still for {seconds:.1f} s"
        return [f"{MOUNT_ANEW} under its users: {words}"]
    holdfast.gate(request.volume)
    report = _well(holdfast, request.volume)
    why = _keeps_its_legs(report, request)
    return [END_THE_WORKER, why or FAIL_A_LEG]


def drill_live(
    holdfast: Holdfast, request: LiveDrillRequest, reporter: Reporter = SILENT
) -> Receipt:
    """Rehearse failures on the volume in use; its receipt says how long anybody waited. Durable.

    Killed anywhere, the gate goes on by itself: a leg that was failed comes back. Raises as
    `plan_live`, AtWork.
    """
    need_root()
    name = check_name(request.volume)
    if holdfast.catalog.volume(name).is_adopted:
        return _mounted_anew(holdfast, request, reporter)
    holdfast.gate(name)
    settings = holdfast.settings
    with COORDINATOR.turn(settings.run_directory, name, WAIT_SECONDS):
        report = _well(holdfast, name)
        course = Course(reporter)
        failure: HoldfastError | None = None
        try:
            _end_worker(holdfast, report, course)
            why = _keeps_its_legs(report, request)
            if why:
                course.remark(why)
            else:
                _fail_leg(holdfast, report, course)
        except HoldfastError as error:
            failure = error
        course.end(failed=failure is not None)
    cause = "drill on the volume in use"
    worked = "nobody saw an error"
    return course.receipt(
        holdfast.catalog, name, LIVE_STRATEGY, cause, worked=worked, failure=failure
    )


def _assessed(holdfast: Holdfast, request: LiveDrillRequest) -> Assessment:
    """Raises Blocked where it is not well, or could not be done."""
    name, seconds = request.volume, request.deadline_seconds
    _well(holdfast, name)
    asked = AssessRequest(name, Strategy.REMOUNT, deadline_seconds=seconds)
    found = holdfast.restorations.assess(asked)
    refuse(found)
    return found


def _mounted_anew(holdfast: Holdfast, request: LiveDrillRequest, reporter: Reporter) -> Receipt:
    name = request.volume
    expected_ms = _assessed(holdfast, request).plan.predicted_pause_seconds * 1000
    course, failure = Course(reporter), None
    try:
        course.reporter.say(MOUNT_ANEW)
        done = holdfast.restorations.remount(name, request.deadline_seconds, reporter)
        course.wait(MOUNT_ANEW, done.longest_wait_ms, expected_ms)
        course.verify(f"{done.verification or 'nobody had it open'} (receipt {done.id[:8]})")
        if not done.outcome.startswith(WORKED):
            raise StorageFailed(done.outcome, f"holdfast receipt show {done.id[:8]}")
    except HoldfastError as error:
        failure = error
    course.end(failed=failure is not None)
    cause, worked = "drill on the volume in use", "its users go on with what they had open"
    return course.receipt(
        holdfast.catalog, name, LIVE_STRATEGY, cause, worked=worked, failure=failure
    )


def _well(holdfast: Holdfast, name: str) -> VolumeReport:
    """The volume, with which nothing is wrong. Raises Blocked."""
    ((report, wrong),) = shown_volumes(holdfast, name)
    for each in wrong:
        if not each.about.startswith("drill"):
            raise Blocked(
                f"{name} was not touched, as something is wrong with it: {each.words}",
                each.mend or f"holdfast status {name}",
            )
    if report.state is not VolumeState.HEALTHY:
        raise Blocked(f"{name} was not touched: it is {report.state}", f"holdfast status {name}")
    return report


def _keeps_its_legs(report: VolumeReport, request: LiveDrillRequest) -> str:
    """Why no leg is failed, in words; empty: one is. Pure."""
    in_sync = [each for each in report.legs if each.state is LegState.IN_SYNC]
    spares = [each for each in report.legs if each.state is LegState.SPARE]
    if spares:
        return "no leg is failed: a spare would take its place, and be filled"
    if len(in_sync) < 2:
        return "no leg is failed: there is only one"
    if len(in_sync) == 2 and not request.down_to_one_leg:
        return "no leg is failed: one alone would be left meanwhile; --down-to-one-leg has it done"
    return ""


def _end_worker(holdfast: Holdfast, report: VolumeReport, course: Course) -> None:
    name, before = report.name, report.gate.takeovers if report.gate is not None else 0

    def has_taken_over() -> bool:
        gate = holdfast.show_volume(name).gate
        return gate is not None and gate.takeovers > before

    course.reporter.say(END_THE_WORKER)
    with _canary(report.mount, course, END_THE_WORKER):
        holdfast.legs.drill(name, "worker-kill")
        _wait(has_taken_over, f"no other worker has taken over {name}")
    course.verify("another worker has taken over, and no write failed")


def _fail_leg(holdfast: Holdfast, report: VolumeReport, course: Course) -> None:
    name = report.name
    leg = next(each for each in report.legs if each.state is LegState.IN_SYNC)

    def state() -> LegState:
        legs = holdfast.show_volume(name).legs
        return next((each.state for each in legs if each.id == leg.id), LegState.DETACHED)

    course.reporter.say(FAIL_A_LEG)
    with _canary(report.mount, course, FAIL_A_LEG):
        holdfast.legs.drill(name, "leg-eio", seconds=_FAULT_SECONDS, leg=leg.id)
        _wait(lambda: state() is not LegState.IN_SYNC, f"no error of {leg.url} was noticed")
        _wait(lambda: state() is LegState.IN_SYNC, f"{leg.url} did not come back")
    course.verify(f"{leg.url} failed and was brought up to date, and no write failed")


def _wait(condition: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise DeadlinePassed(
                f"{otherwise} in {_PATIENCE_SECONDS:g} s", "holdfast status; holdfast receipt list"
            )
        time.sleep(_POLL_SECONDS)


@contextmanager
def _canary(path: str, course: Course, phase: str) -> Iterator[None]:
    """Somebody writes and flushes for as long as this lasts. Raises what was told to him."""
    listening, ending = os.pipe2(os.O_CLOEXEC)
    seconds = 3 * _PATIENCE_SECONDS
    try:
        work = partial(_write_until, path, listening)
        with begun_in_expendable_child(work, seconds, path) as longest:
            yield
            os.write(ending, b".")
            course.wait(phase, longest() * 1000)
    except OSError as error:
        raise ContainerFailed(
            f"whoever wrote to {path} was told an error: {error.strerror}",
            "holdfast status; holdfast receipt list; and the kernel's log.",
        ) from error
    finally:
        os.close(listening)
        os.close(ending)


# In an expendable child: it touches the volume.


def _write_until(path: str, listening: int) -> float:
    """Write to a file without a name, and flush it, again and again until something is to be read;
    the longest time that it took, in seconds. Raises OSError."""
    poller = select.poll()
    poller.register(listening, select.POLLIN)
    place = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    flags = os.O_TMPFILE | os.O_RDWR | os.O_EXCL | os.O_CLOEXEC
    file = os.open(".", flags, 0o600, dir_fd=place)
    text, longest = os.urandom(_PIECE_BYTES), 0.0
    while not poller.poll(_PAUSE_MILLISECONDS):
        begun = time.monotonic()
        os.pwrite(file, text, 0)
        os.fsync(file)
        longest = max(longest, time.monotonic() - begun)
    return longest
