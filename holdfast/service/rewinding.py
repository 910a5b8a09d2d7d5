"""Restoring a volume: what is named is found, what is in the way is told before anything is made.

Owns the order of things between a moment, its contents, the restoration, and the history that is
begun afterwards. Invariant: what is asked for once stays what it is. A moment becomes a position,
and the volume must be the one that was looked at: whoever takes long to answer gets that, or
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from holdfast.containers import image_url
from holdfast.errors import HoldfastError, VolumeHeld
from holdfast.model.finding import Finding, Verdict
from holdfast.model.history import HistoryPlace
from holdfast.model.moment import in_full
from holdfast.model.receipt import Receipt
from holdfast.model.reporter import SILENT, Reporter
from holdfast.model.source import NOTHING_KNOWN, Source
from holdfast.model.volume import check_name
from holdfast.restoration.assessing.assess import Assessment, refuse
from holdfast.restoration.storage.origin import contents_as_they_are
from holdfast.service.clones import AskedMoment, WayThere
from holdfast.service.holdfast import Holdfast
from holdfast.service.restore_request import RestoreRequest
from holdfast.service.undoing import left_by_the_last


class Intention(NamedTuple):
    """What would be done."""

    request: RestoreRequest
    """As it was asked for, with what is found: its moment is a position."""
    found: Assessment
    source: Source = NOTHING_KNOWN


class JudgedMoment(NamedTuple):
    """What can be done with a moment."""

    moment: float | None
    """Unix time in seconds; None: a point, or a position, was named."""
    way: WayThere
    found: Assessment | None
    """None: not even that can be found out, and `refused` says why."""
    refused: HoldfastError | None = None
    """What keeps a restoration from being begun; a clone can be made all the same."""


def intended(holdfast: Holdfast, request: RestoreRequest, reporter: Reporter = SILENT) -> Intention:
    """What would be done, and what is in the way. Makes and changes nothing.

    What is in the way of a moment is found before its history is read, with a copy in the place of
    what would be made from it. Raises what `Restorations.assess` and `Clones.way` do.
    """
    _place(holdfast, request)
    if not request.at:
        named, known = _named(holdfast, request)
        fixed = replace(request, volume_id=named.volume_id)
        return Intention(fixed, holdfast.restorations.assess(named, known), known)
    clones = holdfast.histories.clones
    when = holdfast.histories.vanishings.settled(request.volume, request.at, reporter)
    asked = clones.asked(request.volume, when)
    source, found = _stood_in(holdfast, request, asked)
    if found.plan.refuses:
        return Intention(request, found)
    way = clones.way_to(asked, reporter)
    told = replace(source, findings=_about(way))
    volume_id = asked.stand_in.volume_id
    fixed = replace(request, volume_id=volume_id, at=f"position:{way.position}")
    return Intention(fixed, found.with_findings(told.findings), told)


def judged(
    holdfast: Holdfast, request: RestoreRequest, reporter: Reporter = SILENT
) -> JudgedMoment:
    """How a moment is reached, and what restoring to it would do or why it cannot be begun. Makes
    and changes nothing. Raises what `Clones.way` does where there is no way to it."""
    clones = holdfast.histories.clones
    asked = clones.asked(request.volume, request.at)
    way = clones.way_to(asked, reporter)
    moment = None if asked.position is not None else asked.moment
    fixed = request if moment is None else replace(request, at=in_full(moment))
    found: Assessment | None = None
    try:
        found = _stood_in(holdfast, fixed, asked)[1]
        refuse(found)
    except HoldfastError as error:
        return JudgedMoment(moment, way, found, error)
    return JudgedMoment(moment, way, found)


def _stood_in(
    holdfast: Holdfast, request: RestoreRequest, asked: AskedMoment
) -> tuple[Source, Assessment]:
    """What is in the way of a moment, with a copy in the place of what would be made from it."""
    asked.check_room()
    copy = asked.stand_in
    source = Source(f"{request.volume} as it was at {request.at}", is_to_come=True)
    standing = replace(request, volume_id=copy.volume_id, contents=copy.url, at="")
    with _copies_named(request):
        return source, holdfast.restorations.assess(standing, source)


def restored(
    holdfast: Holdfast, request: RestoreRequest, reporter: Reporter = SILENT
) -> Receipt | None:
    """Restore it; durable on return.

    The contents of a moment are made beside a copy, which takes as long as a clone, and removed
    again. Raises what keeps it from being begun, with nothing made or touched. A history that
    cannot be begun, and legs that cannot be brought up to date, are told by an error when the
    volume is restored already.
    """
    with _copies_named(request):
        holdfast.restorations.settled(request.volume, reporter)
    place = _place(holdfast, request)
    anew = holdfast.histories.anew.after(request.volume, place)
    with _contents(holdfast, request, reporter) as (ready, source), anew:
        receipt = holdfast.restorations.restore(ready, reporter, source)
    holdfast.restorations.wait_for_legs(request.volume, request.urls, reporter)
    return receipt


@contextmanager
def _contents(
    holdfast: Holdfast, request: RestoreRequest, reporter: Reporter
) -> Iterator[tuple[RestoreRequest, Source]]:
    """The request with an image of its moment for contents, for as long as this lasts, its file
    system at rest. One without a moment stays as it is."""
    if not request.at:
        yield _named(holdfast, request)
        return
    fixed, found, source = intended(holdfast, request, reporter)
    refuse(found)
    clones = holdfast.histories.clones
    with clones.hidden(fixed.volume, fixed.at, reporter, fixed.check_still) as view:
        view.bring_to_rest(reporter)
        contents = image_url(Path(view.image))
        made = replace(source, is_to_come=False, stamp=contents_as_they_are(contents))
        yield replace(fixed, at="", contents=contents), made


def _named(holdfast: Holdfast, request: RestoreRequest) -> tuple[RestoreRequest, Source]:
    """A request without a moment, with the contents to which the last restoration is taken back."""
    if not request.undo:
        return request, NOTHING_KNOWN
    volume = holdfast.catalog.volume(check_name(request.volume))
    request.check_still(volume)
    found = left_by_the_last(holdfast.catalog, volume)
    return (
        replace(
            request,
            undo=False,
            contents=found.url,
            filesystem=request.filesystem or found.filesystem,
            volume_id=volume.id,
        ),
        found.source,
    )


def _about(way: WayThere) -> tuple[Finding, ...]:
    written = "nothing was written between that and the copy"
    if way.written is not None:
        written = f"the last write before it was at {in_full(way.written)}"
    return (
        Finding(
            "moment",
            Verdict.LIMITED,
            f"position {way.position}, from {way.copy.url}; {written}",
            "What was written since is not in it, and stays in the present containers.",
        ),
    )


@contextmanager
def _copies_named(request: RestoreRequest) -> Iterator[None]:
    """Say of a volume that is held where its files can be had meanwhile."""
    try:
        yield
    except VolumeHeld as error:
        if request.at:
            error.mend += (
                f" Its files of then, beside it: holdfast clone {request.volume} OTHER"
                f' --at "{request.at}" --mount PATH.'
            )
        raise


def _place(holdfast: Holdfast, request: RestoreRequest) -> HistoryPlace | None:
    """Where a history is to be begun, after all checks; None: nowhere."""
    if not request.history:
        return None
    return holdfast.histories.place_anew(request.volume, request.history)
