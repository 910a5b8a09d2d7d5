"""What the daemon does by itself: it begins a job for each volume of which its policy says so.

Must never touch storage, nor wait for a job: a job goes on when the daemon dies, and looks at
everything again itself. Whoever begins one too many is told by it that nothing is to be done.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence

from holdfast.coordination.turn import at_work
from holdfast.daemon.ended_jobs import has_ended
from holdfast.jobs import Job
from holdfast.jobs.ends import Finished
from holdfast.late_dataclass import dataclass
from holdfast.model.evidence import Evidence
from holdfast.model.plan import Cause
from holdfast.model.policy import Attempt, PolicyStanding
from holdfast.model.receipt import Receipt
from holdfast.model.volume import GATED, VolumeReport
from holdfast.policy.readiness import in_words
from holdfast.policy.unattended import Action, Decision, LossSeen, decide
from holdfast.service import Holdfast, RespondRequest

_log = logging.getLogger(__name__)

SOURCE = "policy"
"""Of evidence that is told because a policy asks for something that is not done."""

_MOST_WORDS = 2000
"""Characters of evidence that a job is given."""

AGAIN_SECONDS = 10.0
"""After a job that ended before it wrote down that it had begun: it could not be started."""


@dataclass(frozen=True)
class _Begun:
    job: Job[Receipt | None]
    attempt: Attempt | None
    """As it was before."""


class Acting:
    """Jobs that the daemon began, and since when volumes are lost; for one thread."""

    def __init__(self, holdfast: Holdfast) -> None:
        self._holdfast = holdfast
        self._lost: dict[str, tuple[Cause, float]] = {}
        """Why a volume's storage counts as lost, and since when: monotonic seconds."""
        self._jobs: dict[str, _Begun] = {}
        self._not_before: dict[str, float] = {}
        """Monotonic seconds."""
        self._said: dict[str, str] = {}
        """What was decided, by volume: logged once for as long as it stays."""

    @property
    def waits(self) -> bool:
        """Whether it should look again soon."""
        return bool(self._jobs)

    def look(
        self, reports: Sequence[VolumeReport], seen: Sequence[Evidence]
    ) -> tuple[Evidence, ...]:
        """Begin what is to be done now; what somebody has to know of what is not.

        Does not wait. Raises HoldfastError, OSError.
        """
        standings = self._holdfast.catalog.policies.all()
        self._take_ends(standings)
        busy = at_work(self._holdfast.settings.run_directory) | self._jobs.keys()
        now = time.monotonic()
        self._note_losses(reports, now)
        told = []
        for report in reports:
            standing = standings.get(report.name)
            if standing is None:
                continue
            lost = self._lost_seconds(report.name, now)
            about = LossSeen(
                report.name, report.kind == GATED, report.lost_by, lost, report.name in busy
            )
            decision = decide(about, standing, time.time())
            self._say(report.name, decision)
            if decision.action in (Action.RESTORE, Action.GO_ON):
                self._begin(report.name, standing, lost, _in_words(report, seen))
            if decision.tells:
                words = in_words(decision, standing, is_lost=report.lost_by is not None)
                told.append(Evidence(report.name, "policy", words, decision.mend, source=SOURCE))
        return tuple(told)

    def _note_losses(self, reports: Sequence[VolumeReport], now: float) -> None:
        before = self._lost
        self._lost = {}
        for report in reports:
            cause = report.lost_by
            if cause is not None:
                known = before.get(report.name)
                self._lost[report.name] = cause, known[1] if known is not None else now

    def _lost_seconds(self, name: str, now: float) -> float:
        known = self._lost.get(name)
        return 0.0 if known is None else now - known[1]

    def _begin(self, name: str, standing: PolicyStanding, lost: float, evidence: str) -> None:
        if time.monotonic() < self._not_before.get(name, 0.0):
            return
        job = Job(RespondRequest(name, lost, evidence), self._holdfast.settings)
        self._jobs[name] = _Begun(job, standing.attempt)
        _log.warning("%s: begun as process %d", name, job.pid, extra={"volume": name})

    def _take_ends(self, standings: Mapping[str, PolicyStanding]) -> None:
        for name, begun in list(self._jobs.items()):
            if not has_ended(begun.job):
                continue
            del self._jobs[name]
            end = begun.job.end
            about = {"volume": name}
            if isinstance(end, Finished):
                what = "restored" if end.result is not None else "nothing was to be done"
                _log.warning("%s: %s", name, what, extra=about)
            else:
                _log.error("%s: it was not restored: %s", name, end, extra=about)
            standing = standings.get(name)
            if standing is None or standing.attempt == begun.attempt:
                self._not_before[name] = time.monotonic() + AGAIN_SECONDS

    def _say(self, name: str, decision: Decision) -> None:
        words = f"{decision.action}: {decision.reason}"
        if self._said.get(name) != words:
            self._said[name] = words
            _log.info("%s: %s", name, words, extra={"volume": name})


def _in_words(report: VolumeReport, seen: Sequence[Evidence]) -> str:
    """What speaks for a loss: the report, and what the daemon's sources saw of the same cause."""
    words = dict.fromkeys((report.reason, *_words(report.name, seen)))
    return "; ".join(filter(None, words))[:_MOST_WORDS]


def _words(name: str, seen: Sequence[Evidence]) -> Iterator[str]:
    for each in seen:
        if each.volume == name and each.about == "state":
            yield each.words
