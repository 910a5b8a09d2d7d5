"""What one can ask of Holdfast about a path that is gone: the last moment at which it was there.

Reached through `Holdfast.histories.vanishings`. Views of moments are made, one after the other, and
removed again: at each it is there or not, and the moments between one at which it was and a later
one at which it was not are halved. Invariant: what is said was seen in such a view, and up to where
nothing can be seen is said as well; no link is followed.
"""

from __future__ import annotations

import errno
import os
import time
import uuid
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from holdfast.containers import image_behind, image_url
from holdfast.copies import tasks, vanishing
from holdfast.copies.moments import local_time
from holdfast.copies.vanishing import Moment, PositionSpan, Survey
from holdfast.copies.work import carried_out
from holdfast.errors import (
    CommandFailed,
    ContainerFailed,
    HoldfastError,
    InvalidOption,
    NoSuchFile,
    NotVanished,
    Unreachable,
)
from holdfast.gate.log.history.layout import volume_in_history
from holdfast.model.copy import VIEW, VIEW_NAME, ClonePlan, VolumeCopy
from holdfast.model.moment import vanished_path
from holdfast.model.reporter import SILENT, Reporter
from holdfast.service.clones import AskedMoment, Clones
from holdfast.service.copies import Copies
from holdfast.service.host import Host
from holdfast.service.past_view import View, names_of, options_of_image
from holdfast.service.points import Points
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.files.beneath import open_beneath

_LOOK_SECONDS = 60.0
"""As past_view._MOUNT_SECONDS, in which a view is mounted."""
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""Also where the way leads through a link: what that shows is elsewhere."""
_MOST_NAME_BYTES = 255  # NAME_MAX of <linux/limits.h>


class Vanished(NamedTuple):
    """The last moment at which a path was there, and what is known of the first one without it."""

    last: Moment
    gone: Moment | None
    """None: it lies where nothing can be seen."""
    looks: int
    unproven: tuple[str, ...]
    """Where nobody can tell, in words: later than `last`."""

    @property
    def when(self) -> str:
        """As `--at` takes it."""
        return f"position:{self.last.position}"

    def words(self, path: str) -> str:
        """For people."""
        last = f"{path} was there at position {self.last.position}{_at(self.last)}"
        if self.gone is None:
            return f"{last}; when it vanished cannot be seen: {'; '.join(self.unproven)}"
        more = f"; nothing is known of {'; '.join(self.unproven)}" if self.unproven else ""
        return f"{last}, and was gone at {self.gone.position}{_at(self.gone)}{more}"


class Vanishings:
    """Paths of volumes that are gone."""

    def __init__(self, host: Host, copies: Copies, points: Points, clones: Clones) -> None:
        self._host = host
        self._copies = copies
        self._points = points
        self._clones = clones

    def settled(self, name: str, when: str, reporter: Reporter = SILENT) -> str:
        """A moment that everybody else takes: `before PATH vanished` as a position, others as they
        are. Raises as `find`."""
        path = vanished_path(when)
        return self.find(name, path, reporter).when if path else when

    def find(self, name: str, path: str, reporter: Reporter = SILENT) -> Vanished:
        """The last moment at which that path was there, as far as views tell.

        Takes a view for each halving (some 20) and up to 18 more, and the room of two; reads the
        history some times. Where it came and went again and again, the moment is one before it
        went, as a rule the last. Killed anywhere, `recover` removes what is left.

        Raises NotVanished while it is there, NoSuchFile where it was not seen, Unreachable where
        no moment can be seen at all, InvalidOption; and as `Clones.plan`.
        """
        mount_path = self._host.volume(name).mount.path
        names = names_of(mount_path, path)
        if not names or any(len(each) > _MOST_NAME_BYTES for each in names):
            raise InvalidOption(f"{path!r} is no path in the volume", "Name what is gone.")
        with self._copies.turn(name):
            self._copies.clean(name)
            asked = self._clones.asked(name, "now")
            reporter.say("look whether it is there")
            is_gone = in_expendable_child(partial(_is_gone, mount_path, names), doing=mount_path)
            if is_gone is False:
                raise _still_there(path)
            end = self._points.present(name).position
            views = _Views(self._host, self._copies, asked, names, reporter)
            try:
                return _Search(views, path, end, is_gone is True).found()
            finally:
                views.close()


def _still_there(path: str) -> NotVanished:
    return NotVanished(
        f"{path} is there now", "Name a time: files NAME ls PATH --at WHEN shows what it was then."
    )


def _at(moment: Moment) -> str:
    return f" ({local_time(moment.time_ns / 1e9)})" if moment.time_ns else ""


class _Search:
    """One, in the turn on the copies."""

    def __init__(self, views: _Views, path: str, end: int, is_gone: bool) -> None:
        self._views = views
        self._path = path
        self._end = end
        self._is_gone = is_gone
        """Whether it is known not to be there at the end."""
        self._unproven: list[str] = []
        self._seen: list[int] = []

    def found(self) -> Vanished:
        """As `Vanishings.find`."""
        survey = self._views.survey(self._end)
        later = self._end
        for stretch in reversed(survey.stretches):
            span = self._views.span_in(survey, stretch)
            if span is None:
                continue
            if span.end < later:
                self._cannot_tell(PositionSpan(span.end, later))
            found = self._within(survey, span)
            if found is not None:
                return found
            later = span.begin
        if not self._seen:
            raise Unreachable(
                "no moment can be seen: no copy is there from which the history leads on",
                "holdfast copy list and holdfast history say why.",
            )
        first, last = self._views.times([min(self._seen), max(self._seen)])
        more = f"; nothing is known of {'; '.join(self._unproven)}" if self._unproven else ""
        raise NoSuchFile(
            f"{self._path} was not there at any of {len(self._seen)} moments from position"
            f" {first.position}{_at(first)} to {last.position}{_at(last)}{more}",
            "It was there before, or for a short time: holdfast files NAME ls PATH --at WHEN shows"
            " what was at a moment.",
        )

    def _within(self, survey: Survey, span: PositionSpan) -> Vanished | None:
        """The last moment of a span at which it was there; None: it was at none that was seen."""
        there = span.begin if self._look(span.begin, onward=True) else None
        places = [span.begin, *survey.likely(span, few=there is not None), span.end]
        gone = None if span.begin == span.end else places[1]
        for place, after in zip(places[1:], [*places[2:], None], strict=True):
            if place > span.begin and self._look(place, onward=True):
                there, gone = place, after
        if there is None:
            return None
        if gone is None:
            if there == self._end:
                raise _still_there(self._path)
            return self._ended(there, None)
        self._views.bring_on(there)
        while (middle := self._views.halfway(survey, PositionSpan(there, gone))) is not None:
            if self._look(middle, onward=False):
                there = middle
                self._views.bring_on(there)
            else:
                gone = middle
        return self._ended(there, gone)

    def _look(self, position: int, *, onward: bool) -> bool:
        if position not in self._seen:
            self._seen.append(position)
        if position == self._end and self._is_gone:
            return False
        return self._views.look(position, len(self._seen), onward=onward)

    def _ended(self, there: int, gone: int | None) -> Vanished:
        places = self._views.times([each for each in (there, gone) if each is not None])
        later = places[1] if gone is not None else None
        return Vanished(places[0], later, len(self._seen), tuple(self._unproven))

    def _cannot_tell(self, span: PositionSpan) -> None:
        before, after = self._views.times(list(span))
        words = f"{before.position}{_at(before)} to {after.position}{_at(after)}"
        self._unproven.insert(0, f"what was from position {words}")


class _Views:
    """Images of moments, two at a time: the base, brought on and never mounted, and what is looked
    into, a duplicate of that."""

    def __init__(
        self,
        host: Host,
        copies: Copies,
        asked: AskedMoment,
        names: list[bytes],
        reporter: Reporter,
    ) -> None:
        self._volume = host.volume(asked.name)
        self._copies = copies
        self._asked = asked
        self._names = names
        self._reporter = reporter
        self._path = Path(asked.place.directory)
        self._identity = volume_in_history(asked.volume_id)
        self._base: VolumeCopy | None = None

    def survey(self, end: int) -> Survey:
        """What the history has, from the first copy on."""
        self._reporter.say("read the history for its name")
        span = PositionSpan(min(each.position for each in self._asked.usable), end)
        work = partial(vanishing.survey, self._path, self._identity, span, self._names[-1])
        return carried_out(work, self._reporter, str(self._path))

    def span_in(self, survey: Survey, stretch: PositionSpan) -> PositionSpan | None:
        """The moments of a stretch that can be seen; None: none can."""
        begins = [each.good_from or 0 for each in self._from(stretch)]
        if not begins:
            return None
        begin, end = min(begins), stretch.end
        for step in survey.steps:
            begin = step.end if step.begin < begin < step.end else begin
            end = step.begin if step.begin < end < step.end else end
        return PositionSpan(begin, end) if begin <= end else None

    def _from(self, stretch: PositionSpan) -> list[VolumeCopy]:
        usable = self._asked.usable
        return [each for each in usable if stretch.begin <= each.position <= stretch.end]

    def look(self, position: int, number: int, *, onward: bool) -> bool:
        """Whether it was there at a moment. `onward`: those that are looked at next are later."""
        self._reporter.say(f"look {number}, at position {position}")
        base = self._base_before(position)
        if onward:
            base = self.bring_on(position)
        seen = self._duplicated(base)
        try:
            seen = self._brought(seen, position)
            return self._is_there(seen)
        finally:
            self._copies.undo(seen)

    def bring_on(self, position: int) -> VolumeCopy:
        """The base, at a later moment: none before that is looked at soon."""
        self._base = self._brought(self._base_before(position), position)
        return self._base

    def halfway(self, survey: Survey, span: PositionSpan) -> int | None:
        """A moment in between; None: there is none."""
        self._reporter.say("choose a moment")
        work = partial(vanishing.halfway, self._path, self._identity, survey, span)
        return carried_out(work, self._reporter, str(self._path))

    def times(self, positions: list[int]) -> list[Moment]:
        """When they were."""
        work = partial(vanishing.times_of, self._path, self._identity, positions)
        return carried_out(work, self._reporter, str(self._path))

    def close(self) -> None:
        """Remove the base; what cannot be removed now is left to `recover`."""
        if self._base is not None:
            with suppress(HoldfastError, OSError):
                self._copies.undo(self._base)
        self._base = None

    def _base_before(self, position: int) -> VolumeCopy:
        if self._base is not None and self._base.position <= position:
            return self._base
        self.close()
        copies = [each for each in self._asked.usable if (each.good_from or 0) <= position]
        self._base = self._duplicated(copies[-1])
        return self._base

    def _duplicated(self, copy: VolumeCopy) -> VolumeCopy:
        """A new image with what another one has. Raises TooSmall."""
        place = Path(image_behind(copy.url)).parent
        half = VolumeCopy(
            id=uuid.uuid4().hex,
            volume=self._volume.name,
            volume_id=copy.volume_id,
            url=image_url(place / f"{VIEW_NAME}{uuid.uuid4().hex}.img"),
            size_bytes=max(copy.size_bytes, self._volume.size_bytes),
            position=copy.position,
            made=time.time(),
            clone=VIEW,
        )
        self._copies.records.save(half)
        try:
            half = self._copies.with_image(half)
            carried_out(partial(tasks.duplicate, copy, half), self._reporter, half.url)
        except BaseException:
            self._copies.undo(half)
            raise
        return half

    def _brought(self, half: VolumeCopy, position: int) -> VolumeCopy:
        if half.position == position:
            return half
        places = position, half.size_bytes
        bring = partial(tasks.bring, half, self._path, self._identity, places)
        carried_out(bring, self._reporter, half.url)
        return replace(half, position=position)

    def _is_there(self, half: VolumeCopy) -> bool:
        kind, copy = self._volume.mount.filesystem, half
        options = options_of_image(kind, "nosuid,nodev,noexec")
        view = View(half, kind, options, ClonePlan(copy, half.position, None, 0, half.url, ""))
        look = partial(view.show, partial(_is_below, names=self._names))
        try:
            return in_expendable_child(look, _LOOK_SECONDS, half.url)
        except (CommandFailed, OSError) as error:
            raise ContainerFailed(
                f"what the volume was at position {half.position} cannot be looked into: {error}",
                f"holdfast copy verify {half.volume} COPY reads copy and history; or name a time.",
            ) from error


# In expendable children: these touch storage.


def _is_below(root: int, names: list[bytes]) -> bool:
    """Raises OSError where nobody can tell."""
    try:
        os.close(open_beneath(root, b"/".join(names), os.O_PATH | os.O_NOFOLLOW))
    except OSError as error:
        if error.errno in _NOT_THERE:
            return False
        raise
    return True


def _is_gone(mount_path: str, names: list[bytes]) -> bool | None:
    """Whether it is in the volume now; None: nobody can tell, another mount is in the way."""
    root = os.open(mount_path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return not _is_below(root, names)
    except OSError:
        return None
    finally:
        os.close(root)
