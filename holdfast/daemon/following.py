"""Copies that the daemon has brought on: it begins a job for each that has lacked something for too
long.

Must never touch their storage, nor wait for a job. At most one is at work at a time, but for those
that have said nothing for some time: storage that hangs keeps no other copy back, however much of
it does. Such a job takes some 40 MiB, one of each volume at most, for the two minutes after which
it gives up (`copies.work.QUIET_SECONDS`); the next one comes up to ten minutes later.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import field
from typing import NamedTuple

from holdfast.coordination.turn import at_work
from holdfast.copies.records import CopyRecords, FollowingRecords
from holdfast.jobs import Job
from holdfast.jobs.ends import Finished
from holdfast.late_dataclass import dataclass
from holdfast.model.copy import VolumeCopy
from holdfast.model.evidence import Evidence
from holdfast.model.following import Following
from holdfast.model.volume import VolumeReport
from holdfast.policy.following import CopySeen, age_seconds, is_due, is_told, standing
from holdfast.service import Holdfast
from holdfast.service.follow_request import FollowRequest
from holdfast.service.following import PART_BYTES, evidence_of, is_any, seen_of

_log = logging.getLogger(__name__)

SOURCE = "following"
"""Of evidence."""

_QUIET_SECONDS = 10.0
"""A job that says nothing for so long waits for something: others may begin meanwhile."""

_AGAIN_SECONDS = 10.0
"""After a job that ended without having noted why."""


@dataclass
class _FollowJob:
    job: Job[VolumeCopy | None]
    volume: str
    heard: float
    """When it said something last; monotonic seconds, as all here."""
    failures: int
    """Before it."""


@dataclass
class _KnownCopy:
    """Of one copy, from look to look."""

    position: int
    since: float
    """From when on it has lacked something."""
    lacks: bool = False
    tried: float = -math.inf
    """When the last attempt ended."""
    unnoted: int = field(default=0)
    """Attempts in a row that ended without having noted how: killed, or not even begun."""


class _CopyLook(NamedTuple):
    following: Following
    copy: VolumeCopy
    seen: CopySeen


class Follower:
    """Jobs that the daemon began, and since when copies lack something; for one thread."""

    def __init__(self, holdfast: Holdfast) -> None:
        self._holdfast = holdfast
        self._jobs: dict[str, _FollowJob] = {}
        self._seen: dict[str, _KnownCopy] = {}

    def look(self, reports: Sequence[VolumeReport]) -> tuple[Evidence, ...]:
        """Begin what is due; what somebody has to know. Does not wait. Raises HoldfastError,
        OSError."""
        settings = self._holdfast.settings
        if not is_any(settings):
            return ()
        ended = self._ended()  # before it is read what they have noted
        copies = {each.id: each for each in CopyRecords(settings).all()}
        following = {each.id: each for each in FollowingRecords(settings).all()}
        self._note_ends(ended, following)
        self._seen = {key: seen for key, seen in self._seen.items() if key in following}
        looks = list(self._looks(reports, copies, following))
        busy = at_work(settings.run_directory)
        due = [each for each in looks if self._is_due(each, busy)]
        # Who waits longest, by what was asked for, is first.
        due.sort(key=lambda each: each.seen.behind_seconds / -each.following.lag_seconds)
        for each in due:
            self._begin(each)
        return tuple(_told(looks))

    def _looks(
        self,
        reports: Sequence[VolumeReport],
        copies: dict[str, VolumeCopy],
        following: dict[str, Following],
    ) -> Iterator[_CopyLook]:
        volumes = {each.name: each for each in reports}
        for each in following.values():
            copy, report = copies.get(each.id), volumes.get(each.volume)
            if copy is not None and report is not None and copy.is_complete:
                yield _CopyLook(each, copy, self._aged(each, copy, report))

    def _aged(self, following: Following, copy: VolumeCopy, report: VolumeReport) -> CopySeen:
        """What is seen of it, and since when it lacks something: by no clock that can be set, but
        for what was before this daemon looked."""
        now, clock = time.monotonic(), time.time()
        seen = seen_of(following, copy, report, 1.0)
        age = age_seconds(following, copy, clock)
        known = self._seen.get(copy.id)
        if known is None:
            since = now - min(age, following.lag_seconds)
            known = self._seen[copy.id] = _KnownCopy(copy.position, since, lacks=True)
        elif copy.position != known.position:
            known.position = copy.position
            if seen.behind_bytes <= PART_BYTES:  # else it was brought on by a part of what it lacks
                known.since = now - min(age, following.lag_seconds)
        if not seen.behind_bytes:
            known.since, known.lacks = now, False
        elif not known.lacks:
            known.lacks = True
            if age > following.lag_seconds:  # nobody wrote for long: what is behind is new
                self._holdfast.histories.following.note_current(following, clock)
        return seen_of(following, copy, report, now - known.since)

    def _is_due(self, look: _CopyLook, busy: frozenset[str]) -> bool:
        name, known = look.following.volume, self._seen[look.copy.id]
        if {name, f".copies-{name}"} & busy or name in {job.volume for job in self._jobs.values()}:
            return False
        since_tried = time.monotonic() - known.tried
        if known.unnoted and since_tried < _AGAIN_SECONDS:
            return False
        failures = look.following.failures + known.unnoted
        return is_due(look.following, look.seen, failures, since_tried)

    def _begin(self, look: _CopyLook) -> None:
        now, copy = time.monotonic(), look.copy
        heard = [job for job in self._jobs.values() if now < job.heard + _QUIET_SECONDS]
        volumes = {job.volume for job in self._jobs.values()}
        if heard or copy.volume in volumes:
            return
        job = Job(FollowRequest(copy.volume, copy.id), self._holdfast.settings)
        self._jobs[copy.id] = _FollowJob(job, copy.volume, now, look.following.failures)
        words = "%s: %s is brought on by process %d"
        _log.info(words, copy.volume, copy.url, job.pid, extra={"volume": copy.volume})

    def _ended(self) -> list[tuple[str, _FollowJob]]:
        """The jobs that have ended; hears what all of them say, so that it is known which wait for
        storage."""
        ended = []
        for key, begun in list(self._jobs.items()):
            try:
                while begun.job.next_event(0.0) is not None:
                    begun.heard = time.monotonic()
            except TimeoutError:
                continue
            ended.append((key, self._jobs.pop(key)))
        return ended

    def _note_ends(
        self, ended: Sequence[tuple[str, _FollowJob]], following: dict[str, Following]
    ) -> None:
        for key, begun in ended:
            end, known, now = begun.job.end, self._seen.get(key), following.get(key)
            about = {"volume": begun.volume}
            is_finished = isinstance(end, Finished)
            if is_finished:
                _log.info("%s: the copy %s was brought on", begun.volume, key, extra=about)
            else:
                words = "%s: the copy %s was not brought on: %s"
                _log.warning(words, begun.volume, key, end, extra=about)
            if known is not None:
                is_noted = is_finished or (now is not None and now.failures > begun.failures)
                known.unnoted = 0 if is_noted else known.unnoted + 1
                known.tried = time.monotonic()


def _told(looks: Sequence[_CopyLook]) -> Iterator[Evidence]:
    for following, copy, seen in looks:
        report = standing(following, copy, seen)
        if is_told(following, report, seen):
            yield evidence_of(copy.volume, report, SOURCE)
