"""Finding out before the bad day whether a volume could be restored: `drill`.

The contents that it would be restored from are made as they would be then, mounted where nobody
sees them, checked, and removed again; the restoration itself is assessed, not begun. Invariant: the
volume is not touched, and nothing is left.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from holdfast.errors import (
    AtWork,
    BadInput,
    CommandFailed,
    ContainerFailed,
    HoldfastError,
    HostCannot,
    InvalidOption,
    NoSuchVolume,
    StateFailed,
    WrongState,
)
from holdfast.model.drill import STRATEGY, WORKED
from holdfast.model.finding import Verdict
from holdfast.model.receipt import Receipt
from holdfast.model.reporter import SILENT, Reporter
from holdfast.model.volume import Volume
from holdfast.mountpoints.private_command import EMPTY, CommandEnd, PrivatePlace, run_on
from holdfast.policy.drill_schedules import UNREADABLE_MEND, DrillSchedule, set_schedule
from holdfast.restoration.storage.origin import options_of_contents
from holdfast.service.copies import check_place
from holdfast.service.course import Course
from holdfast.service.drilled_contents import Ready, contents_of
from holdfast.service.drilling import EXAMPLE, DrillRequest
from holdfast.service.holdfast import Holdfast
from holdfast.service.rights import need_root
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.files.programs import ENVIRONMENT, check_program
from holdfast.system.mounts.mount_table import is_under
from holdfast.system.storage.filesystem import check_filesystem, kind_of

_NOT_BEGUN = (BadInput, WrongState, HostCannot, AtWork, NoSuchVolume)
"""What says nothing about a restoration: the drill could not be begun."""

_GRACE_SECONDS = 120.0
"""To mount an image, and to let go of it: beside what the command itself may take."""

_MOST_WORDS = 400
"""Characters of what a check said."""

_RECENT = 200
"""Receipts among which an earlier one is looked for."""


def drill(holdfast: Holdfast, request: DrillRequest, reporter: Reporter = SILENT) -> Receipt:
    """Find out whether the volume could be restored now; its receipt says so. Durable on return.

    Blocks as long as the contents are large. Killed anywhere, `recover`, or the next drill or copy
    of that volume, removes what is left. Raises what keeps it from being begun.
    """
    need_root()
    volume = holdfast.catalog.volume(request.volume)
    if request.check_words:
        _judge(request.check_words)
    if request.image:
        _check_image(holdfast, volume, request.image)
    course = Course(reporter)
    failure: HoldfastError | None = None
    found: dict[str, Any] = {}
    try:
        with contents_of(holdfast, volume, request, course) as ready:
            found = _cost(ready, course)
            try:
                _look_at(ready, volume, request, course)
            except BaseException:
                course.end(failed=True)
                raise
            course.reporter.say("remove it")
    except _NOT_BEGUN:
        raise
    except HoldfastError as error:
        failure = error
    course.end(failed=failure is not None)
    more = {
        "volume_id": volume.id,
        "contents": course.made_from,
        **found,
        "last_pause": _last_pause(holdfast, volume.name),
    }
    return course.receipt(
        holdfast.catalog,
        volume.name,
        STRATEGY,
        f"drill on a clone: {course.subject or volume.name}",
        worked="a restoration would have worked",
        failure=failure,
        more=more,
    )


def schedule_drill(
    holdfast: Holdfast, request: DrillRequest, every_seconds: float | None
) -> DrillSchedule | None:
    """Let the daemon make this drill so often, from now on; None: no more. Durable.

    Raises InvalidOption, Untrusted, NoSuchVolume; StateFailed when it cannot be written down.
    """
    need_root()
    name = holdfast.catalog.volume(request.volume).name
    if request.at:
        raise InvalidOption("a drill that is repeated is of its own time", "Leave out --at WHEN.")
    if request.check_words:
        _judge(request.check_words)
    schedule = None
    if every_seconds is not None:
        schedule = DrillSchedule(
            name,
            every_seconds,
            time.time(),
            request.contents,
            request.to,
            request.check,
            request.check_seconds,
            request.image,
        )
    try:
        set_schedule(holdfast.settings.state_directory, name, schedule)
    except (OSError, ValueError) as error:
        raise StateFailed(
            f"the schedules of drills cannot be changed: {error}",
            UNREADABLE_MEND,
        ) from error
    return schedule


def _check_image(holdfast: Holdfast, volume: Volume, url: str) -> None:
    """Raise what keeps an image from being made where it was asked for, but for the room: that says
    nothing about a restoration."""
    copies = holdfast.histories.copies
    with copies.turn(volume.name):
        copies.clean(volume.name)
        path = volume.mount.path
        check = partial(check_place, holdfast.settings, volume.name, path, url, ([], 0))
        in_expendable_child(check, doing=url)


def _judge(words: list[str]) -> None:
    if any(is_under(words[0], place) for place in EMPTY):
        raise InvalidOption(
            f"{words[0]} would not be there: the check finds {' and '.join(EMPTY)} empty",
            f"Put it elsewhere, e.g. {EXAMPLE}.",
        )
    check_program(words)


def _look_at(ready: Ready, volume: Volume, request: DrillRequest, course: Course) -> None:
    """Raise what speaks against these contents."""
    tool = kind_of(ready.filesystem).check("")[0]
    course.reporter.say("check the file system")
    checked = check_filesystem(ready.filesystem, ready.image)
    if not checked.clean:
        raise ContainerFailed(
            f"{tool} finds the file system damaged: {_end_of(checked.words)}",
            "An earlier moment, or other contents, may be well: --at WHEN, --from SOURCE.",
        )
    course.verify(f"{tool} found nothing wrong")
    words = request.check_words
    if not words:
        return
    course.reporter.say("run the check")
    options = ["loop", "nosuid", "nodev", *options_of_contents(ready.filesystem)]
    place = PrivatePlace(ready.image, ready.filesystem, ",".join(options), volume.mount.path)
    environment = {**ENVIRONMENT, "HOLDFAST_DRILL_VOLUME": volume.name}
    work = partial(run_on, place, words, environment, request.check_seconds)
    seconds = request.check_seconds + _GRACE_SECONDS
    try:
        end = in_expendable_child(work, seconds, f"the check {words[0]}")
    except OSError as error:
        raise CommandFailed(f"{words[0]} cannot be run: {error.strerror}") from error
    course.said = end.said.rstrip("\n").split("\n") if end.said else []
    if end.status is None:
        raise CommandFailed(
            f"{words[0]} did not end in {request.check_seconds:g} s{_told(end)}",
            "Look at what it does, or give it longer: --within TIME.",
        )
    if end.status:
        raise CommandFailed(
            f"{words[0]} ended with status {end.status}{_told(end)}",
            "See what it says; holdfast clone mounts the same contents for a closer look.",
        )
    course.verify(f"{words[0]} ended with status 0")


def _told(end: CommandEnd) -> str:
    return f": {_end_of(end.said)}" if end.said else ""


def _end_of(words: str) -> str:
    """The last lines of what a program said, as one."""
    lines = [each.strip() for each in words.split("\n") if each.strip()]
    return "; ".join(lines)[-_MOST_WORDS:]


def _cost(ready: Ready, course: Course) -> dict[str, Any]:
    """What a restoration with these contents would cost, and what it could not keep."""
    plan = ready.found.plan
    for each in plan.findings:
        if each.verdict in (Verdict.NEEDS_FORCE, Verdict.LIMITED):
            words = f"{each.subject} ({each.verdict}): {each.found.removesuffix('.')}"
            course.remark(f"{words}. {each.meaning}" if each.meaning else words)
    return {"predicted_pause_ms": round(plan.predicted_pause_seconds * 1000, 3)}


def _last_pause(holdfast: Holdfast, name: str) -> dict[str, Any] | None:
    """How long users waited for the last real one, and what was predicted."""
    for each in holdfast.catalog.receipts(name, _RECENT):
        pause_ms = each.details.get("pause_ms")
        expected = each.details.get("predicted_pause_seconds")
        if each.outcome.startswith(WORKED) and pause_ms is not None and expected is not None:
            return {
                "strategy": each.strategy,
                "at": each.finished,
                "predicted_ms": expected * 1000,
                "measured_ms": pause_ms,
            }
    return None
