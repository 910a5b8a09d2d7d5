"""Points that are made by themselves: asking for it, and doing it. Reached through
`Holdfast.histories.schedules`.

Invariant: a point is durable before the schedule says that it was made; so whoever is killed leaves
one that is there, which is not made again. Must never act but as `policy.schedules` decides.
"""

from __future__ import annotations

import time
from dataclasses import replace

from holdfast.copies.records import PointRecords, PointScheduleRecords
from holdfast.model.point import RestorePoint
from holdfast.model.schedule import PointSchedule
from holdfast.policy.schedules import after, decide
from holdfast.service.host import Host
from holdfast.service.points import Points
from holdfast.service.rights import need_root


class PointSchedules:
    """Those of this host's volumes."""

    def __init__(self, host: Host, points: Points) -> None:
        self._host = host
        self._points = points
        self._schedules = PointScheduleRecords(host.settings)
        self._records = PointRecords(host.settings)

    def show(self, name: str) -> PointSchedule:
        """Of a volume; nothing is made where nobody asked for it. Raises NoSuchVolume."""
        need_root()
        self._host.refuse_adopted(name)
        self._host.volume(name)
        return self._schedules.find(name) or PointSchedule(name, name, time.time())

    def set(self, name: str, **kept: int) -> PointSchedule:
        """Make points by themselves, and keep so many of each kind (`hourly`, `daily`, `weekly`);
        what is not named stays as it is. Durable; heeded from the daemon's next look on.

        Raises NoHistory, InvalidOption.
        """
        need_root()
        with self._points.turn(name):
            changed = self.show(name).changed(kept)
            if not changed.is_off:
                self._points.kept(name)
                self._schedules.save(changed)
            else:
                self._schedules.remove(changed)
        return changed

    def forget(self, name: str) -> None:
        """The volume is deleted. Durable, idempotent."""
        self._schedules.remove(PointSchedule(name, name, 0.0))  # also one that is damaged

    def make(self, name: str) -> tuple[RestorePoint, ...]:
        """Make what is to be made now, and delete what is more than is kept; durable.

        Blocks while the file system is synced. Raises NoHistory, HistoryFailed, StorageFailed.
        """
        need_root()
        with self._points.turn(name):
            schedule = self._schedules.find(name)
            if schedule is None:
                return ()
            now = time.time()
            todo = decide(schedule, self._records.of(name), now)
            made: tuple[RestorePoint, ...] = ()
            if todo.make:
                present = self._points.present(name)
                made = tuple(replace(present, id=each.id, name=each.name) for each in todo.make)
            for point in made:
                self._records.save(point)
            self._schedules.save(after(schedule, todo.make, now))
            for point in todo.delete:
                self._records.remove(point)
        return made
