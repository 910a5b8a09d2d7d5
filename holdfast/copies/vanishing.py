"""Where in a history a file may have come and gone: moments that are worth a look.

Moments are the ends of frames: a frame is written when somebody flushes, so whatever was
acknowledged before is in it. Functions here read the history: for expendable children. Must never
write.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from holdfast.copies.moments import ends_step
from holdfast.copies.replaying import history_failed
from holdfast.copies.work import Pace, Tell
from holdfast.gate.log.history.reading import Gap, OneStep, read_frames, records_of
from holdfast.gate.log.history.segments import find, in_order

_MOST_SIGHTINGS = 4096
"""That are remembered; every other one is forgotten when there are more."""
_LATEST, _SPREAD = 8, 8
"""Sightings that are looked at: the last ones, and as many of those before, evenly."""
_FEW = 4
"""The last ones, where it was there from the begin on: it may have come and gone again."""


class PositionSpan(NamedTuple):
    """Positions from one to another one."""

    begin: int
    end: int


class Survey(NamedTuple):
    """What a history has, without its contents."""

    stretches: list[PositionSpan]
    """Without a gap, oldest first."""
    steps: list[PositionSpan]
    """No position within one of these is a moment."""
    sightings: list[int]
    """Moments just after the name was written, in order: an entry of a directory, or anything
    else."""

    def is_moment(self, position: int) -> bool:
        """Whether it lies in no step."""
        return not any(step.begin < position < step.end for step in self.steps)

    def likely(self, span: PositionSpan, *, few: bool) -> list[int]:
        """Moments within a span that are worth a look, in order; no more than some. Pure."""
        found = [
            each for each in self.sightings if span.begin < each < span.end and self.is_moment(each)
        ]
        if few:
            return found[-_FEW:]
        before = found[:-_LATEST]
        return before[:: max(1, -(-len(before) // _SPREAD))] + found[-_LATEST:]


class Moment(NamedTuple):
    """A position, and when the last write before it was (ns since 1970 UTC)."""

    position: int
    time_ns: int


def survey(path: Path, volume_id: bytes, span: PositionSpan, name: bytes, tell: Tell) -> Survey:
    """Read a history once, from the first position (or its own begin) up to the second one, for
    the name of a file. Raises HistoryFailed."""
    word = re.compile(re.escape(name))
    stretches, steps, sightings = list[PositionSpan](), list[PositionSpan](), list[int]()
    step: int | None = None
    seen_before, pace = False, Pace(tell, span.end - span.begin)
    try:
        segments = in_order(find(path), volume_id)
        if not segments:
            return Survey([], [], [])
        begin = end = max(span.begin, segments[0].page.base)
        for item in read_frames(path, volume_id, begin, segments):
            if isinstance(item, OneStep):
                step = item.position if step is None else step
                continue
            if isinstance(item, Gap):
                steps += [PositionSpan(step, item.end)] if step is not None else []
                stretches.append(PositionSpan(begin, min(item.position, span.end)))
                begin, end, step, seen_before = item.end, item.end, None, False
                continue
            header, content = item
            if header.position >= span.end:
                break
            end = min(header.end, span.end)
            if step is not None and any(ends_step(each) for each in records_of(header, content)):
                steps.append(PositionSpan(step, end))
                step = None
            # A journaling file system writes the entry first, and then, flushed, that it counts.
            seen = word.search(content) is not None
            if seen or seen_before:
                sightings.append(end)
                sightings = sightings[::2] if len(sightings) > _MOST_SIGHTINGS else sightings
            seen_before = seen
            pace.done(end - span.begin)
    except OSError as error:
        raise history_failed(error) from error
    steps += [PositionSpan(step, end + 1)] if step is not None else []
    if begin <= end:
        stretches.append(PositionSpan(begin, end))
    return Survey([each for each in stretches if each.begin < span.end], steps, sightings)


def halfway(
    path: Path, volume_id: bytes, found: Survey, span: PositionSpan, tell: Tell
) -> int | None:
    """A moment between two positions, near the middle; None: there is none. Raises
    HistoryFailed."""
    middle, pace = (span.begin + span.end) // 2, Pace(tell, 1)
    try:
        for start, limit in ((middle, span.end), (span.begin, middle + 1)):
            last = None
            for item in read_frames(path, volume_id, start):
                pace.done(0)
                if isinstance(item, Gap):
                    break
                if isinstance(item, OneStep):
                    continue
                end = item[0].end
                if end >= limit:
                    break
                if end > span.begin and found.is_moment(end):
                    last = end
                    if start == middle:
                        break
            if last is not None:
                return last
    except OSError as error:
        raise history_failed(error) from error
    return None


def times_of(path: Path, volume_id: bytes, positions: Sequence[int], tell: Tell) -> list[Moment]:
    """When the last write before each of these positions was, as the clock had it then; 0: nothing
    is known of it. Raises HistoryFailed."""
    found, pace = [], Pace(tell, 1)
    try:
        segments = in_order(find(path), volume_id)
        for position in positions:
            newest = 0
            if not segments or position <= segments[0].page.base:
                found.append(Moment(position, segments[0].page.begun_ns if segments else 0))
                continue
            for item in read_frames(path, volume_id, position - 1, segments):
                pace.done(0)
                if not isinstance(item, Gap | OneStep):
                    newest = item[0].newest_ns
                break
            found.append(Moment(position, newest))
    except OSError as error:
        raise history_failed(error) from error
    return found
