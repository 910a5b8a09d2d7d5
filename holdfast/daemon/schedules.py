"""Points that the daemon has made: it begins a job for each volume whose schedule says so, or of
which a killed command owes the hook after a point.

Must never touch a volume, nor wait for a job: the file system is synced by it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence

from holdfast.coordination.turn import at_work
from holdfast.copies.records import BegunHookRecords, PointScheduleRecords
from holdfast.daemon.ended_jobs import has_ended
from holdfast.jobs import Job
from holdfast.jobs.ends import Failed, Finished
from holdfast.late_dataclass import dataclass
from holdfast.model.evidence import Evidence
from holdfast.model.point import RestorePoint
from holdfast.model.volume import VolumeReport
from holdfast.policy.following import TOLD_FAILURES, retry_seconds
from holdfast.policy.schedules import is_due
from holdfast.service import Holdfast, ScheduledPointsRequest

_log = logging.getLogger(__name__)

SOURCE = "schedules"
"""Of evidence."""

_APART_SECONDS = 60.0
"""Between two jobs for a volume: a clock that jumps to and fro makes no more."""


@dataclass
class _ScheduledVolume:
    job: Job[tuple[RestorePoint, ...]] | None = None
    begun: float = 0.0
    """Monotonic seconds; 0: never."""
    failures: int = 0
    """In a row."""
    words: str = ""
    mend: str = ""


class Scheduler:
    """Jobs that the daemon began for schedules; for one thread."""

    def __init__(self, holdfast: Holdfast) -> None:
        self._holdfast = holdfast
        self._volumes: dict[str, _ScheduledVolume] = {}

    def look(self, reports: Sequence[VolumeReport]) -> tuple[Evidence, ...]:
        """Begin what is due; what somebody has to know. Does not wait. Raises HoldfastError,
        OSError."""
        settings = self._holdfast.settings
        schedules = {each.volume: each for each in PointScheduleRecords(settings).all()}
        owing = sorted({each.volume for each in BegunHookRecords(settings).all()})
        if not (schedules or owing or self._volumes):
            return ()
        time.tzset()  # jobs, which are new processes, know of another zone of the host at once
        busy, now = at_work(settings.run_directory), time.time()
        for name, volume in self._volumes.items():
            _hear(name, volume)
        for report in reports:
            name, schedule = report.name, schedules.get(report.name)
            if schedule is None:
                continue
            volume = self._volumes.setdefault(name, _ScheduledVolume())
            if report.gate is None:  # of a volume that is detached, no moment passes
                volume.failures = 0
                continue
            if is_due(schedule, now) and _is_free(name, volume, busy):
                self._begin(name, volume)
        for name in owing:  # also of one that is detached: somebody waits to go on
            volume = self._volumes.setdefault(name, _ScheduledVolume())
            if _is_free(name, volume, busy):
                self._begin(name, volume)
        self._volumes = {
            name: volume
            for name, volume in self._volumes.items()
            if name in schedules or name in owing or volume.job is not None
        }
        return tuple(_told(self._volumes))

    def _begin(self, name: str, volume: _ScheduledVolume) -> None:
        volume.begun = time.monotonic()
        volume.job = Job(ScheduledPointsRequest(name), self._holdfast.settings)
        words = "%s: points are made by process %d"
        _log.info(words, name, volume.job.pid, extra={"volume": name})


def _is_free(name: str, volume: _ScheduledVolume, busy: frozenset[str]) -> bool:
    """Whether nobody is at work on it, and the last job was long enough ago."""
    if volume.job is not None or {name, f".points-{name}"} & busy:
        return False
    seconds = max(_APART_SECONDS, retry_seconds(volume.failures))
    return not volume.begun or time.monotonic() >= volume.begun + seconds


def _hear(name: str, volume: _ScheduledVolume) -> None:
    """Whether its job has ended, and how."""
    job = volume.job
    if job is None or not has_ended(job):
        return
    end, about = job.end, {"volume": name}
    volume.job = None
    if isinstance(end, Finished):
        volume.failures, volume.words, volume.mend = 0, "", ""
        for point in end.result:
            _log.info("%s: the point %s was made", name, point.name, extra=about)
        return
    volume.failures += 1
    volume.words, volume.mend = "its process died", "See the daemon's log."
    if isinstance(end, Failed):
        volume.words, volume.mend = end.message, end.mend
    _log.warning("%s: points were not made: %s", name, end, extra=about)


def _told(volumes: dict[str, _ScheduledVolume]) -> Iterator[Evidence]:
    for name, volume in volumes.items():
        if volume.failures >= TOLD_FAILURES:
            words = f"its points are not made: {volume.words}"
            yield Evidence(name, "points", words, volume.mend, source=SOURCE)
