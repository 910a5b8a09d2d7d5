"""Drills that the daemon begins by itself: one at a time, on volumes with which nothing is wrong.

Each is a job, which goes on when the daemon dies; whoever comes next finds it at work. Must never
touch storage, nor wait for a job.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence

from holdfast.coordination.turn import at_work
from holdfast.daemon.ended_jobs import has_ended
from holdfast.jobs import Job
from holdfast.jobs.ends import Finished
from holdfast.model.evidence import Evidence
from holdfast.model.receipt import Receipt
from holdfast.model.volume import VolumeReport, VolumeState
from holdfast.policy.drill_schedules import DrillSchedule, is_due, read_schedules
from holdfast.service import DrillRequest, Holdfast
from holdfast.service.last_drills import last_drill
from holdfast.system.resources.pressure import io_pressure

_log = logging.getLogger(__name__)

SOURCE = "drill schedule"
"""Of evidence."""

LOOK_SECONDS = 60.0
"""Between two looks at what is due: it is due by the hour at most."""

AGAIN_SECONDS = 3600.0
"""After one that could not be begun."""

QUIET_PERCENT = 10.0
"""Share of the last minute in which somebody waited for storage, below which a host is quiet."""


class Drilling:
    """What of it runs now; for one thread."""

    def __init__(self, holdfast: Holdfast) -> None:
        self._holdfast = holdfast
        self._running: tuple[str, Job[Receipt]] | None = None
        self._not_before: dict[str, float] = {}
        """Monotonic seconds, by volume."""
        self._failed: dict[str, Evidence] = {}
        """Those that could not be begun, by volume, until one could."""
        self._looked = -LOOK_SECONDS

    def look(
        self, reports: Sequence[VolumeReport], troubled: Collection[str]
    ) -> tuple[Evidence, ...]:
        """Begin what is due; what somebody has to know. `troubled`: volumes that are left alone, be
        it that their quiet hours are.

        Does not wait. Raises HoldfastError, OSError, ValueError.
        """
        self._take_end()
        now = time.monotonic()
        if self._running is None and now >= self._looked + LOOK_SECONDS:
            self._looked = now
            self._begin_one(reports, troubled)
        return tuple(self._failed.values())

    def _begin_one(self, reports: Sequence[VolumeReport], troubled: Collection[str]) -> None:
        schedules = read_schedules(self._holdfast.settings.state_directory)
        for gone in self._failed.keys() - {each.volume for each in schedules}:
            del self._failed[gone]
        if not schedules:
            return
        quiet = io_pressure() < QUIET_PERCENT
        busy = at_work(self._holdfast.settings.run_directory)
        well = {each.name for each in reports if each.state is VolumeState.HEALTHY} - set(troubled)
        for each in schedules:
            name = each.volume
            is_busy = name in busy or f".copies-{name}" in busy
            waits = time.monotonic() < self._not_before.get(name, 0.0)
            if name not in well or is_busy or waits:
                continue
            last = last_drill(self._holdfast.catalog, name)
            if is_due(each, None if last is None else last.at, time.time(), quiet=quiet):
                self._begin(each)
                return

    def _begin(self, schedule: DrillSchedule) -> None:
        name = schedule.volume
        request = DrillRequest(
            name,
            contents=schedule.contents,
            to=schedule.to,
            check=schedule.check,
            check_seconds=schedule.check_seconds,
            image=schedule.image,
        )
        job = Job(request, self._holdfast.settings)
        self._running = name, job
        _log.info("%s: a drill is due, begun as process %d", name, job.pid, extra={"volume": name})

    def _take_end(self) -> None:
        if self._running is None or not has_ended(self._running[1]):
            return
        (name, job), self._running = self._running, None
        end = job.end
        if isinstance(end, Finished):
            self._failed.pop(name, None)
            _log.info("%s: drill: %s", name, end.result.outcome, extra={"volume": name})
            return
        self._not_before[name] = time.monotonic() + AGAIN_SECONDS
        words = f"its drill, which is due, could not be made: {end}"
        mend = f"holdfast drill {name} says more; --every off ends it."
        self._failed[name] = Evidence(name, "drill", words, mend, source=SOURCE)
        _log.error("%s: %s", name, words, extra={"volume": name})
