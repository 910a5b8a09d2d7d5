"""Legs that get worse: what their gates count of them, window by window, and what became of them.

Owns what was normal for each leg, which outlives the daemon in a file of the state directory; a
file that cannot be read, or is lost, means that it is learned anew. Never waits for storage.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from holdfast.late_dataclass import dataclass
from holdfast.model.evidence import Evidence
from holdfast.model.leg_times import grown, share_within
from holdfast.model.receipt import Receipt
from holdfast.model.volume import LegReport, LegState, VolumeReport, VolumeState
from holdfast.policy.memory import folder_of
from holdfast.policy.trends import (
    JUDGED,
    LEAST_REQUESTS,
    SHARE,
    WINDOW_SECONDS,
    LegTrend,
    after_window,
    failing_in_words,
    in_words,
)
from holdfast.system.files.own_document import read_document, write_document

_log = logging.getLogger(__name__)

SOURCE = "trends"

RECEIPTS_SECONDS = 60.0
"""Between two looks at how often legs failed."""

_MOST_BYTES = 16 << 20

Counts = Mapping[str, tuple[int, ...]]
"""Histograms of one kind of requests, by the leg's id."""


@dataclass(frozen=True)
class _LegCourse:
    leg: str
    kind: str
    course: LegTrend


@dataclass(frozen=True)
class _KnownTrends:
    courses: tuple[_LegCourse, ...] = ()


class _Window(NamedTuple):
    began: float
    """Monotonic seconds."""
    counts: Counts


class Trends:
    """Of all volumes with a gate; for one thread."""

    def __init__(
        self,
        state_directory: Path,
        receipts: Callable[[str], Sequence[Receipt]],
        window_seconds: float = WINDOW_SECONDS,
    ) -> None:
        """`receipts`: those of a volume in the last day."""
        self._path = folder_of(state_directory) / "trends.json"
        self._receipts = receipts
        self._window_seconds = window_seconds
        self._windows: dict[str, dict[str, _Window]] = {}
        """By the volume's id, and the kind; each goes on until there were enough requests."""
        self._courses = self._read()
        self._failing: dict[str, str] = {}
        """In words, by the leg's id."""
        self._looked = -RECEIPTS_SECONDS

    def look(self, reports: Sequence[VolumeReport]) -> tuple[Evidence, ...]:
        """Which legs get worse. Does not wait. Raises HoldfastError, OSError."""
        now = time.monotonic()
        ended = [each for each in reports if self._has_ended(each, now)]
        if ended:
            legs = {leg.id for report in reports for leg in report.legs}
            self._courses = {key: each for key, each in self._courses.items() if key[0] in legs}
            self._write()
        if now >= self._looked + RECEIPTS_SECONDS:
            self._looked = now
            self._failing = dict(self._failing_legs(reports))
        return tuple(each for report in reports for each in self._evidence(report))

    def _has_ended(self, report: VolumeReport, now: float) -> bool:
        """Note what was counted; whether a window ended, which was judged."""
        times = _comparable(report)
        if not times:
            self._windows.pop(report.id, None)
            return False
        windows = self._windows.setdefault(report.id, {})
        has_ended = False
        for kind in JUDGED:
            counts = {leg: each[kind] for leg, each in times.items()}
            window = windows.setdefault(kind, _Window(now, counts))
            if window.counts.keys() != counts.keys():
                windows[kind] = _Window(now, counts)
            elif now >= window.began + self._window_seconds:
                counted = {leg: grown(window.counts[leg], each) for leg, each in counts.items()}
                if all(sum(each) >= LEAST_REQUESTS for each in counted.values()):
                    windows[kind] = _Window(now, counts)
                    self._judge(kind, counted)
                    has_ended = True
        return has_ended

    def _judge(self, kind: str, counted: Counts) -> None:
        seconds = {leg: share_within(each, SHARE) for leg, each in counted.items()}
        for leg, own in seconds.items():
            others = median(each for other, each in seconds.items() if other != leg)
            course = self._courses.get((leg, kind), LegTrend())
            self._courses[leg, kind] = after_window(course, own, others)

    def _failing_legs(self, reports: Sequence[VolumeReport]) -> Iterator[tuple[str, str]]:
        now = time.time()
        for report in reports:
            serving = [leg for leg in report.legs if leg.state is LegState.IN_SYNC]
            if report.gate is None or len(serving) < 2:
                continue
            receipts = self._receipts(report.name)
            for leg in serving:
                failures, corrected = _failures(leg.number, receipts)
                words = failing_in_words(failures, corrected, now)
                if words:
                    yield leg.id, words

    def _evidence(self, report: VolumeReport) -> Iterator[Evidence]:
        for leg in report.legs:
            if leg.state is not LegState.IN_SYNC:
                continue
            said = [self._failing[leg.id]] if leg.id in self._failing else []
            for kind in JUDGED:
                course = self._courses.get((leg.id, kind))
                if course is not None and course.is_slow:
                    said.append(in_words(kind, course))
            if said:
                words = f"leg {leg.number} ({leg.url}): {'; '.join(said)}"
                mend = f"holdfast leg replace {report.name} {leg.number} URL"
                yield Evidence(report.name, about(leg), words, mend, source=SOURCE)

    def _read(self) -> dict[tuple[str, str], LegTrend]:
        try:
            what = "what is known of legs' times"
            known = read_document(self._path, _KnownTrends, _MOST_BYTES, what)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            _log.warning("what was normal for legs is not known, and learned anew: %s", error)
            return {}
        return {(each.leg, each.kind): each.course for each in known.courses}

    def _write(self) -> None:
        """Durable; where that fails, it is learned anew by the next daemon. Raises OSError."""
        known = _KnownTrends(tuple(_LegCourse(*key, each) for key, each in self._courses.items()))
        write_document(self._path, known)


def about(leg: LegReport) -> str:
    """The cause, as of a Trouble."""
    return f"leg {leg.number}"


def _comparable(report: VolumeReport) -> Mapping[str, Mapping[str, tuple[int, ...]]] | None:
    """By leg and kind, what was counted of legs that all serve, with nothing else at work."""
    members = [leg for leg in report.legs if leg.state is not LegState.SPARE]
    is_well = report.state is VolumeState.HEALTHY and report.gate and not report.gate.held
    if not is_well or len(members) < 2:
        return None
    if any(leg.state is not LegState.IN_SYNC or not leg.times for leg in members):
        return None
    if any(set(JUDGED) - leg.times.keys() for leg in members):
        return None
    return {leg.id: leg.times for leg in members}


def _failures(number: int, receipts: Sequence[Receipt]) -> tuple[list[float], list[float]]:
    """When that leg failed, and when a place of it was read from another one. Not rehearsals."""
    failed, corrected = [], []
    for receipt in receipts:
        if receipt.strategy == "bad-place" and receipt.cause.startswith(f"leg {number} ("):
            corrected.append(receipt.started)
        for step in receipt.steps:
            is_drill = "drill " in step.outcome
            if step.name == f"leg {number} failed" and not is_drill:
                failed.append(step.started)
    return failed, corrected
