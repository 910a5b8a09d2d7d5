"""Legs that get worse: told, and replaced by a spare before they fail, where a policy says so.

The replacement is a job, and then the gate's own doing: the daemon, the job and the worker may die,
and it goes on. Must never touch storage, nor wait for a job.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence

from holdfast.coordination.turn import at_work
from holdfast.daemon.ended_jobs import has_ended
from holdfast.detection.trends import SOURCE, Trends
from holdfast.jobs import Job
from holdfast.jobs.ends import Finished
from holdfast.late_dataclass import dataclass
from holdfast.model.evidence import Evidence
from holdfast.model.moment import Timespan
from holdfast.model.receipt import Receipt
from holdfast.model.volume import VolumeReport
from holdfast.policy.preempting import decide
from holdfast.policy.trends import FAILURES_SECONDS
from holdfast.service import Holdfast, ReplaceLegRequest

_log = logging.getLogger(__name__)

AGAIN_SECONDS = 3600.0
"""After one that came to nothing."""

_MOST_RECEIPTS = 1000
"""Of a day; more than any rule here counts."""


@dataclass
class _Exchanging:
    """Of one volume."""

    job: Job[VolumeReport] | None = None
    failures: int = 0
    """In a row."""
    not_before: float = 0.0
    """Monotonic seconds."""
    words: str = ""
    """Why the last one failed."""


class Preempting:
    """Jobs that the daemon began, and what is known of legs; for one thread."""

    def __init__(self, holdfast: Holdfast) -> None:
        self._holdfast = holdfast
        self._trends = Trends(holdfast.settings.state_directory, self._receipts)
        self._volumes: dict[str, _Exchanging] = {}

    def look(
        self, reports: Sequence[VolumeReport], quiet: Collection[str] = ()
    ) -> tuple[Evidence, ...]:
        """Begin what is to be done now; which legs get worse. `quiet`: volumes whose quiet hours it
        is. Does not wait. Raises HoldfastError, OSError."""
        for name, volume in self._volumes.items():
            _hear(name, volume)
        seen = self._trends.look(reports)
        if not seen:
            self._volumes = {key: each for key, each in self._volumes.items() if each.job}
            return ()
        return (*seen, *self._exchange(reports, seen, quiet))

    def _exchange(
        self,
        reports: Sequence[VolumeReport],
        seen: Sequence[Evidence],
        quiet: Collection[str],
    ) -> list[Evidence]:
        standings = self._holdfast.catalog.policies.all()
        busy = at_work(self._holdfast.settings.run_directory)
        told = []
        worse = {(each.volume, each.about) for each in seen}
        for report in reports:
            name = report.name
            legs = frozenset(leg.id for leg in report.legs if (name, f"leg {leg.number}") in worse)
            if not legs or name not in standings:
                continue
            volume = self._volumes.setdefault(name, _Exchanging())
            waits = time.monotonic() < volume.not_before
            found = decide(
                report,
                legs,
                standings[name].policy,
                is_busy=name in busy or volume.job is not None or waits,
                is_quiet=name in quiet,
                failures=volume.failures,
            )
            if found.leg is not None:
                self._begin(name, volume, found.leg.number, found.leg.id, found.spare)
            elif found.reason:
                words = f"{found.reason}: {volume.words}" if volume.words else found.reason
                mend = f"holdfast leg add {name} URL --spare"
                told.append(Evidence(name, "policy", words, mend, source=SOURCE))
        return told

    def _begin(
        self, name: str, volume: _Exchanging, number: int, identifier: str, spare: str
    ) -> None:
        volume.job = Job(ReplaceLegRequest(name, identifier, spare), self._holdfast.settings)
        words = "%s: leg %d gets worse, and %s takes its place: process %d"
        _log.warning(words, name, number, spare, volume.job.pid, extra={"volume": name})

    def _receipts(self, volume: str) -> Sequence[Receipt]:
        begun = Timespan(time.time() - FAILURES_SECONDS)
        return self._holdfast.catalog.receipts(volume, _MOST_RECEIPTS, begun)


def _hear(name: str, volume: _Exchanging) -> None:
    """Whether its job has ended, and how."""
    job = volume.job
    if job is None or not has_ended(job):
        return
    volume.job = None
    if isinstance(job.end, Finished):
        volume.failures, volume.words = 0, ""
        _log.warning("%s: a leg was replaced before it failed", name, extra={"volume": name})
        return
    volume.failures += 1
    volume.not_before = time.monotonic() + AGAIN_SECONDS
    volume.words = str(job.end)
    _log.error("%s: a leg was not replaced: %s", name, job.end, extra={"volume": name})
