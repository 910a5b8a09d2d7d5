"""What a drill looks at: an image with the contents that a volume would be restored from.

Invariant: nothing but that image is made, and it is gone afterwards; whoever is killed leaves what
`recover` removes. The volume is not touched.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from holdfast.containers import (
    image_behind,
    image_url,
    is_container_url,
    parse_container_url,
)
from holdfast.containers.back_end import image_back_end
from holdfast.containers.trust import open_believed
from holdfast.copies import images
from holdfast.copies.work import Tell, carried_out
from holdfast.errors import Blocked, ContainerFailed, InvalidOption
from holdfast.model.copy import VIEW, VolumeCopy
from holdfast.model.size import MAXIMUM_VOLUME_BYTES
from holdfast.model.volume import Volume
from holdfast.restoration.assessing.assess import Assessment, refuse
from holdfast.restoration.copying.online import leased
from holdfast.restoration.copying.process.child import Copying
from holdfast.restoration.copying.sides import CopyTarget
from holdfast.restoration.performing.copy_source import source_of
from holdfast.restoration.storage.origin import contents_as_they_are
from holdfast.restoration.storage.target import place_beside
from holdfast.service.copies import check_place
from holdfast.service.course import Course
from holdfast.service.drilling import DrillRequest
from holdfast.service.holdfast import Holdfast
from holdfast.service.policies import would_refuse
from holdfast.service.restore_request import RestoreRequest
from holdfast.system.children.expendable import in_expendable_child

_DIFFERENCES = 3
"""Of a copy and what it was made from: how many are told."""


class Ready(NamedTuple):
    """Contents that can be looked at."""

    image: str
    filesystem: str
    found: Assessment
    """Of the restoration by which they would take the place of the present ones."""


@contextmanager
def contents_of(
    holdfast: Holdfast, volume: Volume, request: DrillRequest, course: Course
) -> Iterator[Ready]:
    """The contents that it would be restored from, for as long as this lasts.

    Raises what keeps them from being had, or a restoration from being begun.
    """
    from_history = not volume.is_adopted and not request.contents
    if volume.is_adopted and request.at:
        raise InvalidOption(
            f"{volume.name} has no gate, and no history that leads to a moment",
            "Leave --at out; --from SOURCE names contents.",
        )
    with (_as_it_was if from_history else _copied)(holdfast, volume, request, course) as ready:
        yield ready


@contextmanager
def _as_it_was(
    holdfast: Holdfast, volume: Volume, request: DrillRequest, course: Course
) -> Iterator[Ready]:
    name, reporter = volume.name, course.reporter
    clones = holdfast.histories.clones
    if not request.to:
        place_beside(volume, volume.id)  # before an image is made for nothing
    course.subject = f"{name} as it was at {request.at}" if request.at else f"{name} as it is now"
    at = holdfast.histories.vanishings.settled(name, request.at or "now", reporter)
    with clones.hidden(name, at, reporter, image=request.image, careful=True) as view:
        plan = view.plan
        allocated = partial(images.allocated_bytes, image_url(Path(view.image)))
        course.weigh("duplicate the copy", in_expendable_child(allocated, doing=view.image))
        course.weigh("apply the history", plan.history_bytes)
        course.made_from = f"{plan.copy.url} and the history up to position {plan.position}"
        view.bring_to_rest(reporter)
        reporter.say("read all of it")
        carried_out(partial(_read_all, view.image), reporter, view.image)
        course.weigh("read all of it", in_expendable_child(allocated, doing=view.image))
        contents = image_url(Path(view.image))
        found = _assessed(holdfast, RestoreRequest(name, contents, request.to), course)
        yield Ready(view.image, view.filesystem, found)


@contextmanager
def _copied(
    holdfast: Holdfast, volume: Volume, request: DrillRequest, course: Course
) -> Iterator[Ready]:
    """By the same copy of files that a restoration begins with."""
    name, reporter, copies = volume.name, course.reporter, holdfast.histories.copies
    standing = holdfast.catalog.policies.of(name)
    policy = standing.policy
    source = request.contents or policy.source
    if not source:
        raise InvalidOption(
            f"nothing says what {name} would be restored from",
            f"Add --from SOURCE, or: holdfast policy set {name} --on-loss restore --from URL",
        )
    course.made_from, course.subject = source, f"the contents of {source}"
    if not request.contents:
        reporter.say("ask its policy")
        refusal = would_refuse(holdfast.show_volume(name), standing)
        if refusal is not None:
            raise Blocked(refusal.reason, refusal.mend)
    wanted = RestoreRequest(name, source, request.to or ("" if request.contents else policy.target))
    found = _assessed(holdfast, wanted, course)
    new = found.facts.new
    assert new is not None  # other contents are put on other storage
    with copies.turn(name):
        copies.clean(name)
        places = (new.url, found.facts.request.contents, _own_source(volume))
        url = _place(holdfast, volume, request.image, places)
        half = VolumeCopy(
            id=uuid.uuid4().hex,
            volume=name,
            volume_id=volume.id,
            url=url,
            size_bytes=new.volume.size_bytes,
            position=0,
            made=time.time(),
            clone=VIEW,
        )
        copies.records.save(half)
        try:
            half = copies.with_image(half)
            target = CopyTarget(
                path=image_behind(url),
                size_bytes=0,
                filesystem=new.volume.mount.filesystem,
                label=new.volume.mount.label,
                uuid=str(uuid.uuid4()),
                sector_bytes=new.volume.sector_bytes,
            )
            _copy_files(found, target, course)
            yield Ready(target.path, target.filesystem, found)
        finally:
            copies.undo(half)


def _copy_files(found: Assessment, target: CopyTarget, course: Course) -> None:
    contents = found.facts.request.contents
    course.reporter.say("make a file system")
    before = contents_as_they_are(contents)
    copying = Copying(source_of(found), target)
    try:
        course.reporter.say("copy the files")
        result = copying.run_pass(course.reporter.percent, verify=True)
        if result.leased_files:
            raise leased(result)
        if result.differences:
            first = "; ".join(result.differences[:_DIFFERENCES])
            raise ContainerFailed(f"the copy differs from {contents}: {first}", "Try again.")
        copying.finish()
    finally:
        copying.close()
    if contents_as_they_are(contents) != before:
        raise Blocked(
            f"{contents} was changed while it was copied from: what was read may be a mixture",
            "Wait until whoever writes it has ended, then try again.",
        )
    course.weigh("copy the files", result.written_bytes)
    course.verify(f"{result.entries} names compared with {contents}")
    for each in result.lost:
        course.remark(each)


def _assessed(holdfast: Holdfast, request: RestoreRequest, course: Course) -> Assessment:
    """What would happen, where it could be begun. What needs force may be forced on that day."""
    course.reporter.say("assess a restoration")
    found = holdfast.restorations.assess(
        RestoreRequest(request.volume, request.contents, request.to, forced=True)
    )
    refuse(found)
    return found


def _place(holdfast: Holdfast, volume: Volume, wanted: str, near: tuple[str, ...]) -> str:
    """The URL of an image that can be made. Raises Refused, BadInput."""
    url = str(parse_container_url(wanted)) if wanted else ""
    for each in near:
        if not url and is_container_url(each) and image_behind(each):
            beside = Path(image_behind(each)).parent
            url = image_url(beside / f".drill-{uuid.uuid4().hex}.img")
    if not url:
        raise InvalidOption(
            "neither the contents nor the volume lie in an image: there is no place beside them",
            "Name one that is not there yet: --image file:/PATH.img.",
        )
    source = near[1]
    is_image = is_container_url(source) and image_behind(source)
    needed = ([source], MAXIMUM_VOLUME_BYTES) if is_image else ([], 0)
    check = partial(check_place, holdfast.settings, volume.name, volume.mount.path, url, needed)
    in_expendable_child(check, doing=url)
    return url


def _own_source(volume: Volume) -> str:
    return (
        volume.adoption.source if volume.adoption is not None else next(iter(volume.leg_urls), "")
    )


# In expendable children: these touch storage.


def _read_all(image: str, tell: Tell) -> None:
    try:
        descriptor = open_believed(Path(image), os.O_RDONLY)
        images.read_all(image_back_end(descriptor), tell)
    except OSError as error:
        raise images.failed(error) from error
