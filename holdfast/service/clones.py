"""What one can ask of Holdfast about clones: a volume as it was at a moment, mounted beside it.

Reached through `Holdfast.histories.clones`. Invariant: what is mounted was proven to be complete;
the volume itself is not touched.
"""

from __future__ import annotations

import logging
import math
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from holdfast.adopted.adopt import adopt_volume
from holdfast.containers import image_behind, image_url, parse_container_url
from holdfast.copies import images, tasks
from holdfast.copies.work import carried_out
from holdfast.errors import (
    AlreadyExists,
    CannotAdopt,
    HoldfastError,
    InvalidOption,
    NoSuchPoint,
    TooSmall,
    Unreachable,
)
from holdfast.gate.log.history.layout import volume_in_history
from holdfast.gate.members.configuration import GateConfiguration
from holdfast.gate.outside.client import GateClient
from holdfast.model.bounded import MOST_NUMBER
from holdfast.model.copy import VIEW, VIEW_NAME, ClonePlan, VolumeCopy
from holdfast.model.finding import Finding, Verdict
from holdfast.model.history import HistoryPlace
from holdfast.model.moment import in_full, parse_moment
from holdfast.model.reporter import SILENT, Reporter
from holdfast.model.volume import Volume, VolumeReport, check_name
from holdfast.mountpoints.mounting import mount_at_path
from holdfast.service.copies import Copies, check_place, kept_end
from holdfast.service.filled_clones import FilledClones
from holdfast.service.host import Host
from holdfast.service.past_view import View, options_of_image
from holdfast.service.points import Points
from holdfast.service.rights import need_root
from holdfast.system.children.expendable import in_expendable_child
from holdfast.volumes.checks.new_volume import check_mount_place

_log = logging.getLogger(__name__)

_POSITION = "position:"
_MOUNT_SECONDS = 60.0
"""As mountpoints.private_mount.REMOUNT_SECONDS: the file system's journal is replayed."""


class WayThere(NamedTuple):
    """How a moment is reached."""

    copy: VolumeCopy
    position: int
    """The moment, in the history."""
    written: float | None
    """When the last write before it was; Unix time in seconds. None: nothing since the copy."""


class AskedMoment(NamedTuple):
    """A moment that was asked for."""

    name: str
    gate: GateClient
    volume_id: str
    place: HistoryPlace
    usable: list[VolumeCopy]
    position: int | None
    """None: it is in the history somewhere, at this time."""
    moment: float

    @property
    def stand_in(self) -> VolumeCopy:
        """A copy whose contents are like those of then."""
        return self.usable[-1]

    def check_room(self) -> None:
        """Raise TooSmall where no image of that moment would have room beside a copy."""
        for each in self.usable:
            try:
                in_expendable_child(partial(images.check_room_beside, each), doing=each.url)
            except TooSmall:
                if each is self.usable[-1]:
                    raise
            else:
                return


class Clones:
    """Volumes as they were, made on this host."""

    def __init__(self, host: Host, copies: Copies, points: Points, filled: FilledClones) -> None:
        self._host = host
        self._copies = copies
        self._points = points
        self._filled = filled

    def plan(
        self,
        name: str,
        new: str,
        when: str,
        mount_path: str,
        image: str = "",
        reporter: Reporter = SILENT,
        into: str = "",
    ) -> ClonePlan:
        """What `make` would do, after all its checks. Changes nothing; reads the history.

        `when`: a moment as people type it, or `position:NUMBER`. `image`: URL of the clone's own;
        empty: beside the copy. `into`: of the container that it is filled into while it is in use;
        its image has only what differs from the copy then. Raises NoHistory, Unreachable,
        AlreadyExists, CannotAdopt.
        """
        need_root()
        volume = self._host.volume(name)
        self._host.refuse_adopted(name)
        others = self._host.catalog.volumes()
        if any(each.name == check_name(new) for each in others):
            raise AlreadyExists(f"there is a volume named {new!r} already", "Choose another name.")
        wanted = replace(volume.mount, path=mount_path)
        draft = replace(volume, name=new, mount=wanted)
        place = check_mount_place(self._host.settings, draft, others)
        copy, target, newest = self.way(name, when, reporter)
        address = self._checked(name, image or _beside(copy, new, ".past" if into else ".img"))
        plan = ClonePlan(copy, target, newest, target - copy.position, address, place.path, into)
        return self._filled.check(plan, volume, new) if into else plan

    def make(
        self,
        name: str,
        new: str,
        when: str,
        mount_path: str,
        image: str = "",
        reporter: Reporter = SILENT,
        into: str = "",
    ) -> VolumeReport:
        """A volume as another one was at a moment, mounted: an adopted volume of its own; with
        `into` a gated one, which is being filled.

        Durable. Killed anywhere, `recover` or the next clone of that volume removes what is left.
        Raises what `plan` does, TooSmall.
        """
        with self._copies.turn(name):
            self._copies.clean(name)
            plan = self.plan(name, new, when, mount_path, image, reporter, into)
            with self._host.turn(new, f"clone {name} at position {plan.position} as {new}"):
                make = self._filled.make if into else self._make
                made_directory = _to_be_made(plan.mount_path)
                make(plan, self._host.volume(name), new, made_directory, reporter)
        return self._host.show(new)

    @contextmanager
    def hidden(
        self,
        name: str,
        when: str,
        reporter: Reporter = SILENT,
        check: Callable[[Volume], None] = lambda volume: None,
        image: str = "",
        *,
        careful: bool = False,
    ) -> Iterator[View]:
        """An image of a volume as it was, for as long as this lasts.

        `check` raises where the volume is not the one that is meant. `image`: its URL; empty:
        beside the copy. `careful`: no disk is filled for it; what may not fit is not begun.
        Raises what `plan` does. An image that cannot be removed is told, and left
        to `recover`.
        """
        need_root()
        with self._copies.turn(name):
            self._copies.clean(name)
            volume = self._host.volume(name)
            check(volume)
            copy, target, newest = self.way(name, when, reporter)
            url = image or _beside(copy, f"{VIEW_NAME}{uuid.uuid4().hex}", ".img")
            if image:
                url = self._checked(name, image)
            plan = ClonePlan(copy, target, newest, target - copy.position, url, "")
            half = _half(plan, volume, VIEW, "")
            self._copies.records.save(half)
            try:
                half = self._fill(half, plan, reporter, careful=careful)
                kind = volume.mount.filesystem
                yield View(half, kind, options_of_image(kind, "nosuid,nodev,noexec"), plan)
            finally:
                self._remove(half, reporter)

    def _checked(self, name: str, url: str) -> str:
        """The URL, normalised, of an image that can be made there. Raises Refused, BadInput."""
        address, path = str(parse_container_url(url)), self._host.volume(name).mount.path
        settings = self._host.settings
        check = partial(check_place, settings, name, path, address, ([], 0))
        in_expendable_child(check, doing=address)
        return address

    def _remove(self, half: VolumeCopy, reporter: Reporter) -> None:
        """What was done with it stays done, and what failed is told, not this."""
        try:
            self._copies.undo(half)
        except (HoldfastError, OSError) as error:
            about = {"volume": half.volume}
            _log.warning("%s stays for now: %s", half.url, error, extra=about)
            mend = "holdfast recover removes it, when that can be."
            reporter.find(Finding(half.url, Verdict.LIMITED, f"stays for now: {error}", "", mend))

    def way(self, name: str, when: str, reporter: Reporter = SILENT) -> WayThere:
        """How that moment is reached. Reads the history, changes nothing. Raises what `plan`
        does."""
        return self.way_to(self.asked(name, when), reporter)

    def way_to(self, asked: AskedMoment, reporter: Reporter = SILENT) -> WayThere:
        """As `way`."""
        name = asked.name
        path, identity = Path(asked.place.directory), volume_in_history(asked.volume_id)
        end, usable, target = kept_end(asked.gate), asked.usable, asked.position
        reporter.say("find the moment")
        if target is None:
            look = partial(tasks.position_at, path, identity, int(asked.moment * 1e9), end)
            try:
                target = carried_out(look, reporter, str(path))
            except Unreachable as error:
                if asked.moment < min(each.made for each in usable):
                    raise _too_early(name, usable) from error
                raise
        if target > end:
            raise Unreachable(
                f"the history is at position {end}, and has no {target} yet", "Name one before."
            )
        copies = [each for each in usable if (each.good_from or 0) <= target]
        if not copies:
            raise _too_early(name, usable)
        bases = [each.position for each in copies]
        reporter.say("look at the history")
        found = carried_out(
            partial(tasks.find_way, path, identity, target, bases), reporter, str(path)
        )
        copy = next(each for each in reversed(copies) if each.position == found.base)
        return WayThere(copy, target, found.newest_ns / 1e9 if found.newest_ns else None)

    def asked(self, name: str, when: str) -> AskedMoment:
        """What is known of a moment before the history is read; `10m ago` is counted from here.

        Raises what `plan` does.
        """
        need_root()
        volume = self._host.volume(name)
        self._host.refuse_adopted(name)
        if volume.mount.filesystem == "btrfs":
            raise CannotAdopt(
                "btrfs tells file systems apart by their UUID, and a clone has that of the volume",
                "docs/history.md brings a copy to a moment by hand, for another host.",
            )
        gate, configuration, history = self._copies.kept(name)
        usable = self._copies.usable(name)
        if not usable:
            raise Unreachable(
                f"there is no usable copy of {name} that its history could begin from",
                f"See holdfast copy list {name}. For later moments: holdfast copy add {name} URL",
            )
        now = time.time()
        position = self._position(configuration, name, when)
        moment = now if position is not None else self._moment(name, when, now)
        if moment > now:  # what was written since may not be in the history yet
            raise InvalidOption(
                f"{when!r} is yet to come",
                "Name the day, too: yesterday 14:02:07, or 2026-11-28 14:02:07.",
            )
        return AskedMoment(name, gate, configuration.volume_id, history, usable, position, moment)

    def _position(self, configuration: GateConfiguration, name: str, when: str) -> int | None:
        """The position that was named, by number or as a point; None: neither.

        Raises InvalidOption; Unreachable for a point of another history.
        """
        if when.startswith(_POSITION):
            return _number(when)
        try:
            point = self._points.find(name, when)
        except NoSuchPoint:
            return None
        if point.volume_id != configuration.volume_id:
            raise Unreachable(
                f"{name} got another gate, and another history, after {when!r}",
                "docs/history.md reads the old one by hand.",
            )
        return point.position

    @staticmethod
    def _moment(name: str, when: str, now: float) -> float:
        """Raises InvalidOption."""
        try:
            return parse_moment(when, now)
        except InvalidOption as error:
            mend = f"{error.mend} Points: holdfast point list {name}."
            raise InvalidOption(error.message, mend) from error

    def _fill(
        self, half: VolumeCopy, plan: ClonePlan, reporter: Reporter, *, careful: bool = False
    ) -> VolumeCopy:
        """Make the image, and bring it to the moment."""
        _, _, history = self._copies.kept(half.volume)
        path, identity = Path(history.directory), volume_in_history(half.volume_id)
        half = self._copies.with_image(half)
        reporter.say("duplicate the copy")
        carried_out(partial(tasks.duplicate, plan.copy, half), reporter, half.url)
        reporter.say("apply the history")
        if careful:
            most_bytes = min(plan.history_bytes, half.size_bytes)
            in_expendable_child(partial(images.check_room, half.url, most_bytes), doing=half.url)
        apply = partial(tasks.bring, half, path, identity, (plan.position, half.size_bytes))
        carried_out(apply, reporter, half.url)
        return half

    def _make(
        self, plan: ClonePlan, volume: Volume, new: str, made_directory: str, reporter: Reporter
    ) -> None:
        half = _half(plan, volume, new, made_directory)
        self._copies.records.save(half)
        try:
            self._fill(half, plan, reporter)
            reporter.say("mount")
            kind = volume.mount.filesystem
            options = options_of_image(kind, volume.mount.options)
            work = partial(_mount, half.url, plan.mount_path, kind, options)
            in_expendable_child(work, _MOUNT_SECONDS, plan.mount_path)
            others = self._host.catalog.volumes()
            self._host.catalog.add(adopt_volume(self._host.settings, new, plan.mount_path, others))
        except BaseException:
            self._copies.undo(half)
            raise
        self._copies.records.remove(half)


def _too_early(name: str, copies: Sequence[VolumeCopy]) -> Unreachable:
    first = in_full(math.ceil(min(each.made for each in copies)))
    return Unreachable(
        f"{name} can be reached as it was from {first} on: its copies are of then and later",
        f'Name a later moment: --at "{first}".',
    )


def _number(when: str) -> int:
    """Raises InvalidOption."""
    number = when.removeprefix(_POSITION)
    if not (number.isascii() and number.isdigit() and len(number) < 20):
        raise InvalidOption(f"{when!r} is no position", "Write position:12345.")
    return min(int(number), MOST_NUMBER)


def _to_be_made(path: str) -> str:
    is_there = in_expendable_child(partial(os.path.lexists, path), doing=path)
    return "" if is_there else path


def _beside(copy: VolumeCopy, new: str, ending: str) -> str:
    return image_url(Path(image_behind(copy.url)).parent / f"{new}{ending}")


def _half(plan: ClonePlan, volume: Volume, clone: str, made_directory: str) -> VolumeCopy:
    """The record of an image that is to be made."""
    return VolumeCopy(
        id=uuid.uuid4().hex,
        volume=volume.name,
        volume_id=plan.copy.volume_id,
        url=plan.url,
        size_bytes=max(plan.copy.size_bytes, volume.size_bytes),
        position=plan.copy.position,
        made=time.time(),
        clone=clone,
        made_directory=made_directory,
    )


# In expendable children: these touch storage.


def _mount(url: str, mount_path: str, filesystem: str, options: str) -> None:
    Path(mount_path).mkdir(parents=True, exist_ok=True)
    mount_at_path(image_behind(url), mount_path, filesystem, options)
