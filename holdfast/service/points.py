"""What one can ask of Holdfast about restore points: moments of a volume that have a name.

Reached through `Holdfast.histories.points`. A point is a name and a position: it keeps nothing, and
costs nothing; whether its moment can be had is for the copies and the history.
"""

from __future__ import annotations

import logging
import os
import re
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from holdfast.coordination import COORDINATOR
from holdfast.coordination.turn import WAIT_SECONDS
from holdfast.copies.records import BegunGroupRecords, PointRecords
from holdfast.errors import (
    AlreadyExists,
    AtWork,
    HoldfastError,
    InvalidName,
    InvalidOption,
    NoSuchPoint,
)
from holdfast.model.copy import VolumeCopy
from holdfast.model.history import HistoryReport
from holdfast.model.hook import NO_HOOKS, PointHooks
from holdfast.model.moment import parse_moment
from holdfast.model.point import PointReport, RestorePoint
from holdfast.model.recovery import BeingDone, Left
from holdfast.service.copies import Copies, kept_end
from holdfast.service.histories import Histories
from holdfast.service.hooks import Hooks
from holdfast.service.host import Host
from holdfast.service.rights import need_root
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.files.own_files import writing_own_files
from holdfast.system.files.syncfs import sync_file_system

_log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", re.ASCII)
_SYNC_SECONDS = 60.0
"""As mountpoints.dismount.SYNC_SECONDS: what users have written is still on its way."""


class Points:
    """Restore points of volumes of this host."""

    def __init__(self, host: Host, histories: Histories, copies: Copies) -> None:
        self._host = host
        self._histories = histories
        self._copies = copies
        self._records = PointRecords(host.settings)
        self._begun = BegunGroupRecords(host.settings)

    @contextmanager
    def turn(self, name: str) -> Iterator[None]:
        """Be the only command that changes points of this volume; whoever works on its copies keeps
        nobody from it. Raises AtWork, StateFailed."""
        with self._alone(name, WAIT_SECONDS):
            for said in (*self._undo_groups(name), *Hooks(self._host).settle(name)):
                _log.warning("%s: %s", name, said, extra={"volume": name})
            yield

    def _undo_groups(self, name: str) -> list[str]:
        """Remove what is there of groups that are not whole; in words. Whoever makes one has the
        turn of each of its volumes: the caller has that of this one, so nobody is at work."""
        said = []
        for group in self._begun.all():
            if name in group.volumes:
                for point in self._records.all():
                    if point.group == group.id:
                        self._records.remove(point)
                self._begun.remove(group)
                said.append(f"a point of {', '.join(group.volumes)} was not made: not all were")
        return said

    def _whole(self, points: Sequence[RestorePoint]) -> list[RestorePoint]:
        """Without those of groups that are not."""
        begun = {each.id for each in self._begun.all()}
        return [each for each in points if each.group not in begun]

    def settle(self) -> list[str]:
        """Run the hooks that killed commands owe; in words. Never waits for one that is at work."""
        said: list[str] = []
        hooks = Hooks(self._host)
        try:
            owing = sorted(hooks.owing() | {each.volume for each in self._begun.all()})
        except HoldfastError as error:
            return [Left(f"hooks after points were left as they are: {error}")]
        for name in owing:
            try:
                with self._alone(name, 0.0):
                    said += [*self._undo_groups(name), *hooks.settle(name)]
            except HoldfastError as error:
                kind = BeingDone if isinstance(error, AtWork) else Left
                said.append(kind(f"what a killed point of {name} left is as it was: {error}"))
        return said

    @contextmanager
    def _alone(self, name: str, wait_seconds: float) -> Iterator[None]:
        settings = self._host.settings
        with (
            writing_own_files(settings.state_directory),
            COORDINATOR.turn(settings.run_directory, f".points-{name}", wait_seconds),
        ):
            yield

    def kept(self, name: str) -> None:
        """See that its history is kept. Raises NoHistory, NotAttached, HistoryFailed."""
        self._copies.kept(name)

    def create(self, name: str, point: str, hooks: PointHooks = NO_HOOKS) -> RestorePoint:
        """Name the present moment of a volume in use; durable on return.

        What its users have written is in it: the file system is synced first, and the history has
        all of that. Blocks while it is, and while hooks run. Raises CommandFailed where one of
        those failed, after which the point may have been taken, as it says; NoHistory,
        HistoryFailed, AlreadyExists, InvalidName, StorageFailed, Untrusted.
        """
        need_root()
        check_point_name(point)
        with self.turn(name):
            self.check_new(name, point)
            with Hooks(self._host).around(name, point, hooks):
                made = replace(self.present(name), name=point)
                self._records.save(made)
        return made

    def check_new(self, name: str, point: str) -> None:
        """See that such a point can be made. Raises AlreadyExists, and as `kept`."""
        self.kept(name)
        if any(each.name == point for each in self._records.of(name)):
            raise AlreadyExists(
                f"{name} has a point {point!r} already", "Choose another name, or delete it."
            )

    def present(self, name: str) -> RestorePoint:
        """The present moment, without a name, and not written down. As `create`."""
        gate, configuration, _ = self._copies.kept(name)
        self.sync(name)
        return RestorePoint(
            id=uuid.uuid4().hex,
            volume=name,
            volume_id=configuration.volume_id,
            name="",
            position=kept_end(gate),
            made=time.time(),
        )

    def sync(self, name: str) -> None:
        """Have what users have written go to the gate. Raises DeadlinePassed, StorageFailed."""
        path = self._host.volume(name).mount.path
        in_expendable_child(partial(_sync, path), _SYNC_SECONDS, path)

    def show(self, name: str = "") -> list[PointReport]:
        """The points of one volume, or of all, oldest first."""
        need_root()
        every = self._whole(self._records.all())
        found = [each for each in every if name in ("", each.volume)]
        known = {each: self._known(each) for each in {point.volume for point in found}}
        return [
            PointReport(each, *_state(each, *known[each.volume]), _others(each, every))
            for each in found
        ]

    def find(self, name: str, point: str) -> RestorePoint:
        """Raises NoSuchPoint."""
        for each in self._whole(self._records.of(name)):
            if each.name == point:
                return each
        raise NoSuchPoint(
            f"{name} has no point {point!r}", f"holdfast point list {name} shows those it has."
        )

    def remove(self, name: str, point: str) -> RestorePoint:
        """Forget a point; its moment stays as reachable as it was. Durable. Raises NoSuchPoint."""
        need_root()
        with self.turn(name):
            found = self.find(name, point)
            self._records.remove(found)
        return found

    def _known(self, name: str) -> tuple[HistoryReport | str, Sequence[VolumeCopy]]:
        try:
            return self._histories.show(name), self._copies.usable(name)
        except HoldfastError as error:
            return error.message, ()


def _others(point: RestorePoint, points: Sequence[RestorePoint]) -> tuple[str, ...]:
    """Of the same group, by their volumes."""
    if not point.group:
        return ()
    return tuple(each.volume for each in points if each.group == point.group and each != point)


def check_point_name(point: str) -> None:
    """Raises InvalidName: also for what is a moment by itself."""
    if not _NAME.fullmatch(point):
        raise InvalidName(
            f"{point!r} cannot be a point's name",
            "Use 1 to 80 letters, digits, dots, dashes, underscores; begin with a letter or digit.",
        )
    try:
        parse_moment(point, time.time())
    except InvalidOption:
        return
    raise InvalidName(f"{point!r} is a time already", "Choose a name that cannot be read as one.")


def _state(
    point: RestorePoint, history: HistoryReport | str, copies: Sequence[VolumeCopy]
) -> tuple[str, str]:
    """Whether it can be reached, as far as that is seen without reading the history."""
    if isinstance(history, str):
        return "unknown", history
    if history.state == "off":
        return "unreachable", "no history of the volume is kept"
    if not history.is_read:
        return "unknown", history.reason
    before = [
        each
        for each in copies
        if each.volume_id == point.volume_id and (each.good_from or 0) <= point.position
    ]
    if not before:
        return "unreachable", "no copy of that volume is older"
    for stretch in history.stretches:
        end = point.position if stretch.end is None else stretch.end
        if any(stretch.position <= each.position <= point.position <= end for each in before):
            return "reachable", ""
    return "unreachable", "a gap of the history lies before it, or the history does not reach back"


# In an expendable child: this touches storage.


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    sync_file_system(descriptor)
