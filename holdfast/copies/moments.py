"""Which position of a history was the present at a time of the clock.

Times are for people, positions decide: where the clock showed a time more than once, and where
nobody can tell what was written, it is refused. Must never write. Blocks as the storage does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from holdfast.copies.work import Pace, Tell
from holdfast.errors import Unreachable
from holdfast.gate.log.history.layout import Mark
from holdfast.gate.log.history.reading import Gap, OneStep, read_frames, records_of
from holdfast.gate.log.history.segments import FoundSegment, find, in_order
from holdfast.gate.log.segment import Kind, Record

Item = Record | Gap | OneStep

_SET_BACK_NS = 1_000_000_000
"""Records are nearly in the order of their times, unless the clock was set."""


def position_at(path: Path, volume_id: bytes, when_ns: int, *, kept: int | None, tell: Tell) -> int:
    """The position at which the clock showed `when_ns` (since 1970 UTC).

    `kept`: whatever was written up to that time lies before that position, so that after the last
    record nothing was, if what is read reaches it; None: nobody knows. Reads from there to the end.
    Raises Unreachable, OSError.
    """
    segments = in_order(find(path), volume_id)
    if not segments:
        raise Unreachable("the history is empty", "Name a later moment.")
    start = _start(segments, when_ns)
    newest = start.page.begun_ns if start.page.begun_ns <= when_ns else None
    last, in_step, found = start.page.base, False, set[int]()
    pace, reading = Pace(tell, 1), _Reading(path, volume_id, start.page.base)
    for item, time_ns in _timed(reading.items()):
        pace.done(0)
        if newest is None and isinstance(item, Record) and time_ns and when_ns < time_ns:
            raise Unreachable(
                f"the history begins at position {item.position}, {local_time(time_ns / 1e9)}",
                "Name a later moment.",
            )
        if newest is not None and newest <= when_ns and (time_ns is None or when_ns < time_ns):
            if item is None and kept is not None and reading.end < kept:
                raise Unreachable(
                    f"the history is damaged: it can be read up to position {reading.end}"
                    f" ({local_time(newest / 1e9)}), and had {kept}",
                    f"What was there then: --at position:{last}",
                )
            is_known = isinstance(item, Record) or (item is None and kept is not None)
            if not is_known or in_step:
                raise Unreachable(
                    "nothing is known of that time: a gap, a step or the end of the history comes"
                    f" after position {last}, {local_time(newest / 1e9)}",
                    f"What was there then: --at position:{last}",
                )
            found.add(last)
        if item is None or time_ns is None or (newest is None and not isinstance(item, Record)):
            continue
        if newest is not None and time_ns < newest - _SET_BACK_NS:
            newest = time_ns
        newest = max(newest or time_ns, time_ns)
        last = item.position if isinstance(item, OneStep) else item.end
        in_step = isinstance(item, OneStep) or (in_step and not ends_step(item))
    if len(found) != 1:
        raise Unreachable(
            f"the clock was set: it showed that time at the positions {sorted(found)}"
            if found
            else "the clock never showed that time",
            "Say which: --at position:NUMBER",
        )
    return found.pop()


class _Reading:
    """As `reading.read`, and up to where it came: what is damaged in the newest segment ends the
    history without a word."""

    def __init__(self, path: Path, volume_id: bytes, begin: int) -> None:
        self._path, self._volume_id, self._begin = path, volume_id, begin
        self.end = begin

    def items(self) -> Iterator[Item]:
        """Records, gaps and steps in order."""
        for item in read_frames(self._path, self._volume_id, self._begin):
            if isinstance(item, Gap | OneStep):
                yield item
                self.end = item.end if isinstance(item, Gap) else self.end
            else:
                yield from records_of(*item)
                self.end = item[0].end


def ends_step(item: Item) -> bool:
    """Whether a step, if one was, has ended with it."""
    if isinstance(item, Record):
        return item.kind is Kind.MARK and item.offset == Mark.SETTLED
    return isinstance(item, Gap)


def local_time(seconds: float) -> str:
    """Local time with its distance from UTC."""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "milliseconds")


def _start(segments: Sequence[FoundSegment], when_ns: int) -> FoundSegment:
    """The last one before which, as all pages say, the clock never showed a later time."""
    found = segments[0]
    for segment in segments:
        if max(segment.page.begun_ns, segment.page.before_ns) > when_ns:
            break
        found = segment
    return found


def _timed(items: Iterator[Item]) -> Iterator[tuple[Item | None, int | None]]:
    """Each with its time, and an end without one. Behind a gap comes what was still in the ring: it
    may be older than the segment that tells of the gap."""
    waiting: list[tuple[Item, int]] = []
    for item in items:
        if isinstance(item, Record):
            for each, time_ns in waiting:
                yield each, min(time_ns, item.time_ns)
            waiting = []
            yield item, item.time_ns
        else:
            waiting.append((item, item.after_ns if isinstance(item, Gap) else item.begun_ns))
    yield from waiting
    yield None, None
